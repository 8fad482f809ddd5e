/* A member of a group with virtual synchrony: flush_user ADDRESS NAME MEMBERS.
 *
 * Waits for a view of so many members, sends in it with every kind of cast, and leaves when it has what all
 * the others sent. Flushes whenever it is asked to. */

#include "check.h"
#include "fl.h"

#define GROUP "replicas"
#define MAX_MEMBERS 20

static mailbox mbox;
static char me[MAX_GROUP_NAME], sender[MAX_GROUP_NAME], members[MAX_MEMBERS][MAX_GROUP_NAME], body[1000];
static int16 type;
static int count, mismatch, more;

/* Receives; 0 when that would block and must not. */
static service next(int *length, service kind) {
    *length = FL_receive(mbox, &kind, sender, MAX_MEMBERS, &count, members, &type, &mismatch,
                         sizeof body, body, &more);
    if (*length == WOULD_BLOCK) return 0;
    if (*length < 0) FL_error(*length);
    CHECK(*length >= 0);
    CHECK_IS(more, FL_more_msgs(mbox));
    return kind;
}

static void refused(void) {
    service kind = DONT_BLOCK;
    int major, minor, patch;
    CHECK_IS(FL_lib_init(), 0), CHECK_IS(FL_lib_init(), ILLEGAL_STATE);
    CHECK_IS(FL_version(&major, &minor, &patch), 1), CHECK(major == 2 && !minor && !patch);
    CHECK_IS(FL_join(mbox, "two words"), ILLEGAL_GROUP);
    CHECK_IS(FL_join(9999, GROUP), ILLEGAL_SESSION);
    CHECK_IS(FL_leave(mbox, GROUP), ILLEGAL_GROUP);
    CHECK_IS(FL_flush(mbox, GROUP), ILLEGAL_GROUP);
    CHECK_IS(FL_multicast(mbox, FIFO_MESS, GROUP, 1, 1, "x"), ILLEGAL_GROUP);
    CHECK_IS(FL_poll(mbox), 0), CHECK_IS(FL_more_msgs(9999), ILLEGAL_SESSION);
    CHECK_IS(FL_receive(mbox, &kind, sender, -1, &count, members, &type, &mismatch, 0, NULL, &more),
             ILLEGAL_PARAM);
    CHECK_IS(FL_receive(mbox, &kind, sender, 0, &count, members, &type, &mismatch, 0, NULL, &more),
             WOULD_BLOCK);
}

/* What a member must not send. */
static void refused_to_members(void) {
    scatter pieces = {.num_elements = 100};
    char strangers[1][MAX_GROUP_NAME] = {"#nobody#nowhere"};
    CHECK_IS(FL_join(mbox, GROUP), ILLEGAL_GROUP);
    CHECK_IS(FL_flush(mbox, GROUP), ILLEGAL_STATE);
    CHECK_IS(FL_multicast(mbox, FIFO_MESS, GROUP, -32766, 1, "x"), ILLEGAL_MESSAGE_TYPE);
    CHECK_IS(FL_multicast(mbox, FIFO_MESS | FLUSH_REQ_MESS, GROUP, 1, 1, "x"), ILLEGAL_SERVICE);
    CHECK_IS(FL_scat_multicast(mbox, FIFO_MESS, GROUP, 1, &pieces), ILLEGAL_MESSAGE);
    CHECK_IS(FL_unicast(mbox, FIFO_MESS, GROUP, "#nobody#nowhere", 1, 1, "x"), ILLEGAL_RECEIVERS);
    CHECK_IS(FL_subgroupcast(mbox, FIFO_MESS, GROUP, 1, strangers, 1, 1, "x"), ILLEGAL_RECEIVERS);
    CHECK_IS(FL_subgroupcast(mbox, FIFO_MESS, GROUP, -1, strangers, 1, 1, "x"), ILLEGAL_PARAM);
}

/* Six messages for everybody, one of which the sender itself does not get. */
static void say_everything(int member_count) {
    char all[MAX_MEMBERS][MAX_GROUP_NAME];
    scatter pieces = {.num_elements = 2, .elements = {{"ab", 2}, {"cd", 2}}};
    memcpy(all, members, sizeof all);
    CHECK_IS(FL_multicast(mbox, FIFO_MESS, GROUP, 1, 4, "abcd"), 4);
    CHECK_IS(FL_multicast(mbox, SAFE_MESS | SELF_DISCARD, GROUP, 2, 4, "abcd"), 4);
    CHECK_IS(FL_scat_multicast(mbox, AGREED_MESS, GROUP, 3, &pieces), 4);
    CHECK_IS(FL_subgroupcast(mbox, RELIABLE_MESS, GROUP, member_count, all, 4, 4, "abcd"), 4);
    CHECK_IS(FL_scat_subgroupcast(mbox, AGREED_MESS, GROUP, member_count, all, 5, &pieces), 4);
    for (int i = 0; i < member_count; i++) {
        int scattered = i % 2;
        int sent = scattered ? FL_scat_unicast(mbox, CAUSAL_MESS, GROUP, all[i], 6, &pieces)
                             : FL_unicast(mbox, CAUSAL_MESS, GROUP, all[i], 6, 4, "abcd");
        CHECK_IS(sent, 4);
    }
}

static void check_view(service kind, int length) {
    int32 named;
    CHECK(type >= 0 && type < count && !strcmp(members[type], me));
    memcpy(&named, body + FL_get_num_vs_offset_memb_mess(), sizeof named);
    CHECK_IS(length, FL_get_vs_set_offset_memb_mess() + named * MAX_GROUP_NAME);
    CHECK_IS(FL_get_gid_offset_memb_mess(), 0);
    if (!Is_caused_network_mess(kind)) CHECK_IS(named, 1);
    printf("%s has %d members%s\n", sender, count, Is_caused_network_mess(kind) ? ", by network" : "");
    fflush(stdout);
}

int main(int argc, char **argv) {
    int wanted, expected = 0, heard = 0, length, seen[7] = {0};
    CHECK(argc == 4);
    wanted = atoi(argv[3]);
    CHECK_IS(FL_connect(argv[1], argv[2], 0, &mbox, me), ACCEPT_SESSION);
    refused();
    CHECK_IS(FL_join(mbox, GROUP), 0);
    while (!expected || heard < expected) {
        service kind = next(&length, 0);
        if (Is_flush_req_mess(kind)) {
            CHECK(!strcmp(sender, GROUP));
            CHECK_IS(FL_flush(mbox, GROUP), 0);
            CHECK_IS(FL_multicast(mbox, FIFO_MESS, GROUP, 1, 1, "x"), ILLEGAL_STATE);
        } else if (Is_reg_memb_mess(kind)) {
            check_view(kind, length);
            if (count == wanted) {
                expected = 6 * wanted - 1;
                refused_to_members();
                say_everything(wanted);
            }
        } else if (Is_regular_mess(kind)) {
            CHECK(length == 4 && !memcmp(body, "abcd", 4));
            CHECK(type >= 1 && type <= 6);
            CHECK(type != 2 || strcmp(sender, me));
            CHECK_IS(!!Is_subgroup_cast_mess(kind), type >= 4);
            CHECK(!strcmp(members[0], GROUP));
            seen[type]++, heard++;
        }
    }
    for (int i = 1; i <= 6; i++) CHECK_IS(seen[i], i == 2 ? wanted - 1 : wanted);
    printf("heard all\n");
    fflush(stdout);
    /* Until everybody has heard all, which is when somebody on the input says so. */
    while (!is_readable(0, 0)) {
        if (FL_more_msgs(mbox) == 0 && !is_readable(mbox, 20)) continue;
        /* What came may be between the layers only. */
        service kind = next(&length, DONT_BLOCK);
        if (Is_flush_req_mess(kind)) CHECK_IS(FL_flush(mbox, GROUP), 0);
        if (Is_reg_memb_mess(kind)) check_view(kind, length);
    }
    FL_leave(mbox, GROUP);
    return FL_disconnect(mbox);
}
