/* How long it takes to join and to leave: membership_timer ADDRESS ROUNDS. */

#include "check.h"
#include "sp.h"

static mailbox mbox;

/* Waits with select, as programs do, and receives. */
static service next(void) {
    static char body[10000], members[100][MAX_GROUP_NAME];
    char group[MAX_GROUP_NAME];
    service kind = 0;
    int16 index;
    int count, mismatch;
    fd_set readable;
    struct timeval limit = {20, 0};
    FD_ZERO(&readable);
    FD_SET(mbox, &readable);
    CHECK_IS(select(mbox + 1, &readable, NULL, NULL, &limit), 1);
    CHECK(SP_receive(mbox, &kind, group, 100, &count, members, &index, &mismatch, sizeof body, body) >= 0);
    CHECK(!strcmp(group, "timer"));
    return kind;
}

int main(int argc, char **argv) {
    char name[MAX_GROUP_NAME];
    sp_time limit = {10, 0}, total = {0, 0};
    CHECK(argc == 3);
    int rounds = atoi(argv[2]);
    CHECK_IS(SP_connect_timeout(argv[1], NULL, 0, 1, &mbox, name, limit), ACCEPT_SESSION);
    for (int i = 0; i < rounds; i++) {
        sp_time begun = E_get_time();
        CHECK_IS(SP_join(mbox, "timer"), 0);
        service kind = next();
        CHECK(Is_caused_join_mess(kind));
        CHECK_IS(SP_leave(mbox, "timer"), 0);
        kind = next();
        CHECK(Is_self_leave(kind));
        total = E_add_time(total, E_sub_time(E_get_time(), begun));
    }
    printf("%d rounds of joining and leaving in %ld.%06ld seconds\n", rounds, total.sec, total.usec);
    return SP_disconnect(mbox);
}
