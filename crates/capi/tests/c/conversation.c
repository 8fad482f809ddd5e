/* The conversation that every client library goes through: crates/cli/tests/conversation/README.md. */

#include <stdint.h>

#include "check.h"
#include "sp.h"

#define TIME_LIMIT 20000
#define MAX_BYTES 160000
#define MAX_MEMBERS 100
#define MAX_IDS 100

typedef struct {
    const char *name;
    mailbox mbox;
    char member[MAX_GROUP_NAME];
} client;

static const char *address;
static client alice = {.name = "alice"}, bob = {.name = "bob"}, carol = {.name = "carol"};
static group_id ids[MAX_IDS];
static int id_count;
static char body[MAX_BYTES];

static void failed(const char *name, const char *call, int code) {
    printf("%s failed %s %d\n", name, call, code);
}

static int dial(const char *name, const char *where, int membership, client *to) {
    return SP_connect(where, name, 0, membership, &to->mbox, to->member);
}

static void connect_client(client *who, int membership) {
    CHECK_IS(dial(who->name, address, membership, who), ACCEPT_SESSION);
    printf("%s connected %s\n", who->name, who->member);
}

static void connect_in_vain(const char *name, const char *where) {
    client nobody;
    failed(name, "connect", dial(name, where, 1, &nobody));
}

static void disconnect_client(client *who) {
    CHECK_IS(SP_disconnect(who->mbox), 0);
    printf("%s disconnected\n", who->name);
}

/* The number of a group id: in the order in which the log has them. */
static int number_of(group_id id) {
    for (int i = 0; i < id_count; i++)
        if (SP_equal_group_ids(ids[i], id)) return i + 1;
    CHECK(id_count < MAX_IDS);
    ids[id_count++] = id;
    return id_count;
}

static uint32_t adler32(const char *bytes, int count) {
    uint32_t a = 1, b = 0;
    for (int i = 0; i < count; i++) {
        a = (a + (unsigned char)bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static const char *service_name(service type) {
    if (Is_unreliable_mess(type)) return "unreliable";
    if (Is_reliable_mess(type)) return "reliable";
    if (Is_fifo_mess(type)) return "fifo";
    if (Is_causal_mess(type)) return "causal";
    if (Is_agreed_mess(type)) return "agreed";
    CHECK(Is_safe_mess(type));
    return "safe";
}

static void print_names(char names[][MAX_GROUP_NAME], int count) {
    for (int i = 0; i < count; i++) printf("%s%s", i ? "," : "", names[i]);
}

static void print_message(const client *who, service type, int16 number, const char *sender,
                          char groups[][MAX_GROUP_NAME], int group_count, int length) {
    printf("%s message %s type %d from %s to ", who->name, service_name(type), number, sender);
    print_names(groups, group_count);
    if (length <= 40)
        printf(" \"%.*s\"\n", length, body);
    else
        printf(" %d bytes adler32 %08x\n", length, adler32(body, length));
}

static const char *cause_name(service type) {
    if (Is_caused_join_mess(type)) return "join";
    if (Is_caused_leave_mess(type)) return "leave";
    if (Is_caused_disconnect_mess(type)) return "disconnect";
    CHECK(Is_caused_network_mess(type));
    return "network";
}

static void print_view(const client *who, service type, int16 index, const char *group,
                       char members[][MAX_GROUP_NAME], int member_count) {
    static vs_set_info sets[MAX_MEMBERS];
    static char names[MAX_MEMBERS][MAX_GROUP_NAME];
    membership_info info;
    unsigned int own;
    CHECK_IS(SP_get_memb_info(body, type, &info), 1);
    printf("%s view %s %s id %d members ", who->name, group, cause_name(type), number_of(info.gid));
    print_names(members, member_count);
    printf(" index %d sets ", index);
    int count = SP_get_vs_sets_info(body, sets, MAX_MEMBERS, &own);
    CHECK_IS(count, info.num_vs_sets);
    for (int i = 0; i < count; i++) {
        int in_set = SP_get_vs_set_members(body, &sets[i], names, MAX_MEMBERS);
        CHECK_IS(in_set, sets[i].num_members);
        printf("{");
        print_names(names, in_set);
        printf("}");
    }
    CHECK(!memcmp(&sets[own], &info.my_vs_set, sizeof sets[own]));
    printf(" own %u\n", own);
}

static void hear_one(const client *who) {
    static char groups[MAX_MEMBERS][MAX_GROUP_NAME];
    char sender[MAX_GROUP_NAME];
    service type = 0;
    int16 number;
    int group_count, mismatch;
    CHECK(is_readable(who->mbox, TIME_LIMIT));
    int length = SP_receive(who->mbox, &type, sender, MAX_MEMBERS, &group_count, groups, &number,
                            &mismatch, sizeof body, body);
    CHECK(length >= 0);
    CHECK_IS(mismatch, 0);
    if (Is_regular_mess(type)) {
        print_message(who, type, number, sender, groups, group_count, length);
    } else if (Is_reg_memb_mess(type)) {
        print_view(who, type, number, sender, groups, group_count);
    } else if (Is_transition_mess(type)) {
        membership_info info;
        CHECK_IS(SP_get_memb_info(body, type, &info), 1);
        printf("%s transition %s id %d\n", who->name, sender, number_of(info.gid));
    } else {
        CHECK(Is_self_leave(type));
        printf("%s self-leave %s\n", who->name, sender);
    }
}

/* Each of the clients, named by the first letter, hears once. */
static void hear(const char *who) {
    for (; *who; who++) hear_one(*who == 'a' ? &alice : *who == 'b' ? &bob : &carol);
}

static void join(const client *who, const char *group) {
    int code = SP_join(who->mbox, group);
    if (code < 0) failed(who->name, "join", code);
}

static void leave(const client *who, const char *group) {
    int code = SP_leave(who->mbox, group);
    if (code < 0) failed(who->name, "leave", code);
}

static void send_bytes(const client *who, service type, int16 number, const char *group,
                       const char *bytes, int length) {
    int sent = SP_multicast(who->mbox, type, group, number, length, bytes);
    if (sent < 0)
        failed(who->name, "multicast", sent);
    else
        CHECK_IS(sent, length);
}

static void say(const client *who, service type, int16 number, const char *group, const char *text) {
    send_bytes(who, type, number, group, text, (int)strlen(text));
}

static void before_others_change(void) {
    static const char *const services[] = {"unreliable", "reliable", "fifo",
                                           "causal",     "agreed",   "safe"};
    static const char several[3][MAX_GROUP_NAME] = {"red", "blue", "#carol#localhost"};
    connect_client(&alice, 1);
    connect_client(&bob, 1);
    connect_client(&carol, 0);
    connect_in_vain("alice", address);
    connect_in_vain("a#b", address);
    connect_in_vain("dave", "1@127.0.0.1");
    connect_in_vain("dave", "localhost:4803");
    join(&alice, "red"), hear("a");
    join(&alice, "blue"), hear("a");
    join(&bob, "red"), hear("ab");
    for (int16 i = 0; i < 6; i++) say(&alice, 1 << i, i, "red", services[i]), hear("ab");
    say(&carol, AGREED_MESS, 100, "red", "open"), hear("ab");
    say(&bob, FIFO_MESS, -1, alice.member, "for alice"), hear("a");
    say(&alice, FIFO_MESS, -32768, carol.member, "for carol"), hear("c");
    join(&carol, "red"), hear("ab");
    say(&alice, SAFE_MESS, 32767, "red", "three"), hear("abc");
    CHECK_IS(SP_multigroup_multicast(bob.mbox, CAUSAL_MESS, 3, several, 15, 7, "several"), 7);
    hear("abc");
    say(&alice, FIFO_MESS | SELF_DISCARD, 16, "red", "not to me");
    say(&alice, FIFO_MESS, 16, "red", "to all"), hear("bbcca");
    say(&alice, RELIABLE_MESS, 17, "blue", ""), hear("a");
}

static void large_and_wrong(void) {
    static char large[150000];
    for (int i = 0; i < 100000; i++) large[i] = (char)(i % 251);
    send_bytes(&bob, AGREED_MESS, 18, "red", large, 100000), hear("abc");
    say(&alice, AGREED_MESS, 19, "red", "one");
    say(&alice, AGREED_MESS, 19, "red", "two");
    say(&alice, AGREED_MESS, 19, "red", "three"), hear("aaabbbccc");
    join(&alice, "two words");
    leave(&alice, "");
    memset(large, 0, sizeof large);
    send_bytes(&alice, AGREED_MESS, 22, "red", large, sizeof large);
    say(&alice, 0, 0, "red", "none");
    say(&alice, AGREED_MESS, 24, "red", "still here"), hear("abc");
}

static void leaving(void) {
    leave(&bob, "red"), hear("ba");
    say(&bob, AGREED_MESS, 26, "red", "from outside"), hear("ac");
    leave(&carol, "red"), hear("a");
    say(&alice, FIFO_MESS, 28, carol.member, "alone"), hear("c");
    join(&bob, "red"), hear("ab");
    disconnect_client(&bob), hear("a");
    connect_client(&bob, 1);
    join(&bob, "blue"), hear("ab");
    disconnect_client(&carol);
    leave(&alice, "blue"), hear("ab");
    leave(&alice, "red"), hear("a");
    disconnect_client(&alice);
    disconnect_client(&bob);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    address = argv[1];
    before_others_change();
    large_and_wrong();
    leaving();
    return 0;
}
