/* Every SP_ function with its results, and the room that a receiver has: api ADDRESS. */

#include <limits.h>
#include <stdint.h>

#include "check.h"
#include "sp.h"

#define TIME_LIMIT 20000

static const char *address;
static mailbox mbox;
static char me[MAX_GROUP_NAME], sender[MAX_GROUP_NAME], groups[10][MAX_GROUP_NAME], body[1000];
static int group_count, mismatch;
static int16 type;
static service kind;

/* Receives with so much room. */
static int receive_with(service flags, int max_groups, int max_bytes) {
    CHECK(is_readable(mbox, TIME_LIMIT));
    kind = flags;
    return SP_receive(mbox, &kind, sender, max_groups, &group_count, groups, &type, &mismatch,
                      max_bytes, body);
}

static int receive(void) { return receive_with(0, 10, sizeof body); }

static void say(const char *text) {
    CHECK_IS(SP_multicast(mbox, FIFO_MESS, me, 7, (int)strlen(text), text), (int)strlen(text));
}

static int count_yes(int fd, void *data) {
    CHECK(fd >= 0);
    ++*(int *)data;
    return 1;
}

static int say_no(int fd, void *data) {
    (void)fd, (void)data;
    return 0;
}

static void versions_and_texts(void) {
    int major, minor, patch;
    CHECK_IS(SP_version(&major, &minor, &patch), 1);
    CHECK_IS(major << 24 | minor << 16 | patch, SPREAD_VERSION);
    CHECK_IS(SP_version(NULL, &minor, &patch), 0);
    for (int code = -30; code <= 1; code++) {
        CHECK(strlen(SP_strerror(code)) > 0);
        SP_error(code);
    }
}

static void connecting(void) {
    /* The library has it for as long as it has the methods. */
    static int calls = 0;
    sp_time odd = {1, -5}, least = {0, LONG_MIN}, soon = {5, 0}, past = {-1, 0};
    const char *names[3] = {"NULL", "NULL", "IP"};
    int (*functions[3])(int, void *) = {count_yes, count_yes, count_yes};
    void *data[3] = {&calls, &calls, &calls};
    CHECK_IS(SP_connect("no:port", "api", 0, 1, &mbox, me), ILLEGAL_SPREAD);
    CHECK_IS(SP_connect("4803@no..such..host", "api", 0, 1, &mbox, me), ILLEGAL_SPREAD);
    CHECK_IS(SP_connect("1@127.0.0.1", "api", 0, 1, &mbox, me), COULD_NOT_CONNECT);
    CHECK_IS(SP_connect(address, "a#b", 0, 1, &mbox, me), REJECT_ILLEGAL_NAME);
    CHECK_IS(SP_connect_timeout(address, "api", 0, 1, &mbox, me, odd), ILLEGAL_TIME);
    CHECK_IS(SP_connect_timeout(address, "api", 0, 1, &mbox, me, least), ILLEGAL_TIME);
    CHECK_IS(SP_connect_timeout(address, "api", 0, 1, &mbox, me, past), COULD_NOT_CONNECT);
    CHECK_IS(SP_connect(address, "api", 0, 1, NULL, me), SP_BUG);

    CHECK_IS(SP_set_auth_method("a name of thirty characters...", count_yes, NULL), 0);
    CHECK_IS(SP_set_auth_method("NULL", NULL, NULL), 0);
    CHECK_IS(SP_set_auth_methods(4, names, functions, data), 0);
    CHECK_IS(SP_set_auth_methods(3, names, functions, data), 1);
    CHECK_IS(SP_connect(address, "api", 0, 1, &mbox, me), REJECT_AUTH); /* IP is not offered */
    CHECK_IS(SP_set_auth_method("NULL", say_no, NULL), 1);
    CHECK_IS(SP_connect(address, "api", 0, 1, &mbox, me), REJECT_AUTH);
    CHECK_IS(calls, 0);
    CHECK_IS(SP_set_auth_methods(2, names, functions, data), 1);
    /* Longer names are cut. */
    CHECK_IS(SP_connect_timeout(address, "api-abcdefgh", 9, 1, &mbox, me, soon), ACCEPT_SESSION);
    CHECK(!strcmp(me, "#api-abcdef#localhost"));
    CHECK_IS(calls, 2);
    mailbox other;
    CHECK_IS(SP_connect(address, "api-abcdef", 0, 1, &other, NULL), REJECT_NOT_UNIQUE);
}

static void wrong_requests(void) {
    static char large[143953];
    char many[101][MAX_GROUP_NAME] = {{0}};
    scatter pieces = {.num_elements = 101};
    CHECK_IS(SP_join(mbox, ""), ILLEGAL_GROUP);
    CHECK_IS(SP_join(mbox, NULL), ILLEGAL_GROUP);
    CHECK_IS(SP_join(mbox, "two words"), ILLEGAL_GROUP);
    CHECK_IS(SP_leave(mbox, "a name of more than thirty-one characters"), ILLEGAL_GROUP);
    CHECK_IS(SP_join(-1, "group"), ILLEGAL_SESSION);
    CHECK_IS(SP_leave(9999, "group"), ILLEGAL_SESSION);
    CHECK_IS(SP_poll(9999), ILLEGAL_SESSION);
    CHECK_IS(SP_disconnect(9999), ILLEGAL_SESSION);
    SP_kill(9999);
    CHECK_IS(SP_multicast(9999, FIFO_MESS, "group", 0, 0, ""), ILLEGAL_SESSION);
    CHECK_IS(SP_multicast(mbox, 0, "group", 0, 0, ""), ILLEGAL_SERVICE);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS | SAFE_MESS, "group", 0, 0, ""), ILLEGAL_SERVICE);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS | 0x10000, "group", 0, 0, ""), ILLEGAL_SERVICE);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS | REJECT_MESS, "group", 0, 0, ""), ILLEGAL_SERVICE);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS, "group", 0, 143921, large), MESSAGE_TOO_LONG);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS, "group", 0, -1, large), ILLEGAL_MESSAGE);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS, "group", 0, 1, NULL), ILLEGAL_MESSAGE);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS, NULL, 0, 0, ""), ILLEGAL_GROUP);
    CHECK_IS(SP_multigroup_multicast(mbox, FIFO_MESS, 101, many, 0, 0, ""), ILLEGAL_MESSAGE);
    CHECK_IS(SP_multigroup_multicast(mbox, FIFO_MESS, 0, NULL, 0, 0, ""), 0);
    CHECK_IS(SP_scat_multicast(mbox, FIFO_MESS, "group", 0, &pieces), ILLEGAL_MESSAGE);
    CHECK_IS(SP_scat_multicast(mbox, FIFO_MESS, "group", 0, NULL), ILLEGAL_MESSAGE);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS, me, 0, 143920, large), 143920);
    CHECK_IS(receive_with(DROP_RECV, 10, 1000), BUFFER_TOO_SHORT);
    CHECK_IS(mismatch, -143920);
}

/* What does not fit stays where it is, and the mailbox stays readable. */
static void too_little_room(void) {
    char to[3][MAX_GROUP_NAME] = {"one", "two", ""};
    strcpy(to[2], me);
    CHECK_IS(SP_multigroup_multicast(mbox, AGREED_MESS, 3, to, -9, 5, "abcde"), 5);
    say("next");
    for (int again = 0; again < 3; again++) {
        CHECK_IS(receive_with(0, 2, 10), GROUPS_TOO_SHORT);
        CHECK_IS(group_count, -3), CHECK_IS(mismatch, 0), CHECK_IS(kind, AGREED_MESS);
        CHECK_IS(type, -9), CHECK(!strcmp(sender, me));
        CHECK_IS(receive_with(0, 3, 4), BUFFER_TOO_SHORT);
        CHECK_IS(group_count, 0), CHECK_IS(mismatch, -5);
        CHECK_IS(receive_with(0, 0, 0), GROUPS_TOO_SHORT);
        CHECK_IS(group_count, -3), CHECK_IS(mismatch, -5);
    }
    CHECK_IS(receive(), 5);
    CHECK_IS(group_count, 3), CHECK(!strcmp(groups[1], "two")), CHECK(!memcmp(body, "abcde", 5));

    /* Then it may be dropped: groups silently, bytes with an error; nothing after it is touched. */
    CHECK_IS(receive_with(0, 10, 2), BUFFER_TOO_SHORT);
    memset(body, 'x', sizeof body);
    CHECK_IS(receive_with(DROP_RECV, 10, 2), BUFFER_TOO_SHORT);
    CHECK_IS(mismatch, -4), CHECK(!memcmp(body, "nexx", 4));
    say("after");
    CHECK_IS(SP_multigroup_multicast(mbox, AGREED_MESS, 3, to, 0, 2, "hi"), 2);
    CHECK_IS(receive(), 5), CHECK_IS(type, 7);
    CHECK_IS(receive_with(DROP_RECV, 1, 10), 2);
    CHECK_IS(group_count, -3), CHECK(!strcmp(groups[0], "one"));

    /* A lone message that does not fit keeps the mailbox readable, too. */
    say("lone");
    for (int again = 0; again < 3; again++) CHECK_IS(receive_with(0, 10, 1), BUFFER_TOO_SHORT);
    CHECK(SP_poll(mbox) > 0);
    CHECK_IS(receive(), 4);
    CHECK(!is_readable(mbox, 0)), CHECK_IS(SP_poll(mbox), 0);
}

static void pieces(void) {
    char head[3], tail[10];
    scatter sent = {.num_elements = 3, .elements = {{"ab", 2}, {NULL, 0}, {"cdefg", 5}}};
    scatter room = {.num_elements = 2, .elements = {{head, 3}, {tail, 10}}};
    char to[1][MAX_GROUP_NAME];
    strcpy(to[0], me);
    CHECK_IS(SP_scat_multicast(mbox, SAFE_MESS, me, 1, &sent), 7);
    CHECK_IS(SP_multigroup_scat_multicast(mbox, SAFE_MESS, 1, to, 2, &sent), 7);
    CHECK(is_readable(mbox, TIME_LIMIT));
    for (int i = 1; i <= 2; i++) {
        kind = 0;
        CHECK_IS(SP_scat_receive(mbox, &kind, sender, 10, &group_count, groups, &type, &mismatch, &room), 7);
        CHECK_IS(type, i), CHECK(!memcmp(head, "abc", 3)), CHECK(!memcmp(tail, "defg", 4));
    }
    CHECK_IS(SP_scat_receive(mbox, &kind, sender, 10, &group_count, groups, &type, &mismatch, NULL),
             ILLEGAL_MESSAGE);

    /* Lengths that no memory has, each or together, and that together are few for who counts no further. */
    scatter absurd = {.num_elements = 2, .elements = {{head, (size_t)-1}, {tail, 4}}};
    for (int i = 0; i < 3; i++) {
        CHECK_IS(SP_scat_multicast(mbox, SAFE_MESS, me, 1, &absurd), ILLEGAL_MESSAGE);
        CHECK_IS(SP_scat_receive(mbox, &kind, sender, 10, &group_count, groups, &type, &mismatch, &absurd),
                 ILLEGAL_MESSAGE);
        absurd.elements[0].len = (size_t)PTRDIFF_MAX + 1 - (i > 0), absurd.elements[1].len = 4 * i;
    }
}

static void views(void) {
    membership_info info, again;
    vs_set_info sets[2];
    unsigned int own = 9;
    char names[1][MAX_GROUP_NAME];
    CHECK_IS(SP_join(mbox, "views"), 0);
    int length = receive();
    CHECK(Is_reg_memb_mess(kind) && Is_caused_join_mess(kind) && Is_membership_mess(kind));
    CHECK(!strcmp(sender, "views")), CHECK_IS(group_count, 1), CHECK_IS(type, 0);
    CHECK_IS(SP_get_memb_info(body, kind, &info), 1);
    CHECK(!strcmp(info.changed_member, me)), CHECK_IS(info.num_vs_sets, 1);
    CHECK_IS(SP_get_vs_sets_info(body, sets, 0, &own), BUFFER_TOO_SHORT);
    CHECK_IS(SP_get_vs_sets_info(body, sets, 2, &own), 1);
    CHECK_IS(own, 0), CHECK(!memcmp(&sets[0], &info.my_vs_set, sizeof sets[0]));
    CHECK_IS(SP_get_vs_set_members(body, &sets[0], names, 0), BUFFER_TOO_SHORT);
    CHECK_IS(SP_get_vs_set_members(body, &sets[0], names, 1), 1);
    CHECK(!strcmp(names[0], me));
    CHECK_IS(SP_get_memb_info(body, FIFO_MESS, &info), ILLEGAL_MESSAGE);

    /* The same in pieces, cut inside of a number and a name; and cut off. */
    scatter cut = {.num_elements = 3, .elements = {{body, 14}, {body + 14, 20}, {body + 34, length - 34}}};
    CHECK_IS(SP_scat_get_memb_info(&cut, kind, &again), 1);
    CHECK(!memcmp(&info, &again, sizeof info)), CHECK(SP_equal_group_ids(info.gid, again.gid));
    CHECK_IS(SP_scat_get_vs_sets_info(&cut, sets, 2, &own), 1);
    CHECK_IS(SP_scat_get_vs_set_members(&cut, &sets[0], names, 1), 1);
    CHECK(!strcmp(names[0], me));
    cut.num_elements = 2;
    CHECK_IS(SP_scat_get_vs_set_members(&cut, &sets[0], names, 1), ILLEGAL_MESSAGE);

    CHECK_IS(SP_leave(mbox, "views"), 0);
    CHECK_IS(receive(), 0);
    CHECK(Is_self_leave(kind)), CHECK(!strcmp(sender, "views")), CHECK_IS(group_count, 0);
    CHECK_IS(SP_get_memb_info(body, kind, &info), 1), CHECK_IS(info.num_vs_sets, 0);
}

/* A message cannot pass for a view, whatever its sender puts into the type. */
static void forged_views(void) {
    CHECK_IS(SP_multicast(mbox, FIFO_MESS | REG_MEMB_MESS | CAUSED_BY_NETWORK, me, 0, 1, "x"), 1);
    CHECK_IS(receive(), 1);
    CHECK(Is_regular_mess(kind) && !Is_membership_mess(kind));
}

static void the_end(void) {
    mailbox quiet;
    char name[MAX_GROUP_NAME];
    CHECK_IS(SP_connect(address, NULL, 0, 0, &quiet, name), ACCEPT_SESSION);
    CHECK(name[0] == '#');
    /* What was sent before a session is forgotten arrives. */
    for (int i = 0; i < 100; i++) CHECK_IS(SP_multicast(quiet, FIFO_MESS, me, (int16)i, 0, NULL), 0);
    SP_kill(quiet);
    CHECK_IS(SP_multicast(quiet, FIFO_MESS, me, 0, 0, NULL), ILLEGAL_SESSION);
    for (int i = 0; i < 100; i++) CHECK_IS(receive(), 0), CHECK_IS(type, i);
    CHECK_IS(SP_disconnect(mbox), 0);
    CHECK_IS(SP_disconnect(mbox), ILLEGAL_SESSION);
    CHECK_IS(SP_receive(mbox, &kind, sender, 10, &group_count, groups, &type, &mismatch, 0, NULL),
             ILLEGAL_SESSION);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    address = argv[1];
    versions_and_texts();
    connecting();
    wrong_requests();
    too_little_room();
    pieces();
    views();
    forged_views();
    the_end();
    return 0;
}
