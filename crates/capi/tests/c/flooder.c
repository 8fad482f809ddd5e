/* Sends and receives as many messages as it is told: flooder ADDRESS MESSAGES BYTES. */

#include "check.h"
#include "sp.h"

#define MAX_BYTES 100000
/* More would pile up in the daemon for this client, which reads after it has sent. */
#define AHEAD 500

int main(int argc, char **argv) {
    static char body[MAX_BYTES], groups[10][MAX_GROUP_NAME];
    mailbox mbox;
    char me[MAX_GROUP_NAME], sender[MAX_GROUP_NAME];
    int16 type;
    int count, mismatch, received = 0;
    CHECK(argc == 4);
    int messages = atoi(argv[2]), bytes = atoi(argv[3]);
    CHECK(bytes >= (int)sizeof messages && bytes <= MAX_BYTES);
    CHECK_IS(SP_connect(argv[1], "flooder", 0, 1, &mbox, me), ACCEPT_SESSION);
    CHECK_IS(SP_join(mbox, "flood"), 0);
    /* Reliable messages keep no order, and could come before their sender is in the group. */
    service joined = 0;
    CHECK(SP_receive(mbox, &joined, sender, 10, &count, groups, &type, &mismatch, sizeof body, body) > 0);
    CHECK(Is_reg_memb_mess(joined));
    for (int sent = 0; received < messages;) {
        for (; sent < messages && sent < received + AHEAD; sent++) {
            memcpy(body, &sent, sizeof sent);
            CHECK_IS(SP_multicast(mbox, RELIABLE_MESS << sent % 5, "flood", 0, bytes, body), bytes);
        }
        do {
            service kind = DROP_RECV;
            CHECK_IS(SP_receive(mbox, &kind, sender, 10, &count, groups, &type, &mismatch,
                                sizeof body, body), bytes);
            CHECK(!strcmp(sender, me));
            received++;
        } while (received < sent && SP_poll(mbox) > 0);
    }
    CHECK_IS(SP_leave(mbox, "flood"), 0);
    CHECK_IS(SP_disconnect(mbox), 0);
    printf("%d messages of %d bytes\n", received, bytes);
    return 0;
}
