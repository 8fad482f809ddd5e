/* How many messages a second one sender gets to one receiver: throughput ADDRESS BYTES SECONDS. Prints a number. */

#include <pthread.h>

#include "check.h"
#include "sp.h"

#define GROUP "throughput"
#define MAX_BYTES 100000
#define LAST 1

static const char *address;
static int bytes, seconds;
static volatile int is_over;
static pthread_barrier_t joined;

static mailbox dial(const char *name, int membership) {
    mailbox mbox;
    char member[MAX_GROUP_NAME];
    CHECK_IS(SP_connect(address, name, 0, membership, &mbox, member), ACCEPT_SESSION);
    return mbox;
}

static void *send_until_over(void *nothing) {
    static char body[MAX_BYTES];
    mailbox mbox = dial("sender", 0);
    pthread_barrier_wait(&joined);
    while (!is_over) CHECK_IS(SP_multicast(mbox, AGREED_MESS, GROUP, 0, bytes, body), bytes);
    CHECK_IS(SP_multicast(mbox, AGREED_MESS, GROUP, LAST, bytes, body), bytes);
    CHECK_IS(SP_disconnect(mbox), 0);
    return nothing;
}

static double now(void) {
    sp_time time = E_get_time();
    return (double)time.sec + (double)time.usec / 1e6;
}

static service receive(mailbox mbox, int16 *type) {
    static char body[MAX_BYTES], groups[10][MAX_GROUP_NAME];
    char sender[MAX_GROUP_NAME];
    service kind = 0;
    int count, mismatch;
    CHECK(SP_receive(mbox, &kind, sender, 10, &count, groups, type, &mismatch, sizeof body, body) >= 0);
    return kind;
}

int main(int argc, char **argv) {
    pthread_t sender;
    int16 type = 0;
    CHECK(argc == 4);
    address = argv[1], bytes = atoi(argv[2]), seconds = atoi(argv[3]);
    CHECK(bytes >= 0 && bytes <= MAX_BYTES);
    pthread_barrier_init(&joined, NULL, 2);
    mailbox mbox = dial("receiver", 1);
    CHECK_IS(SP_join(mbox, GROUP), 0);
    CHECK(Is_reg_memb_mess(receive(mbox, &type)));
    CHECK_IS(pthread_create(&sender, NULL, send_until_over, NULL), 0);
    pthread_barrier_wait(&joined);

    /* Until the flow is steady, and then for the time that counts. */
    double begun = now(), measured = 0;
    long count = 0;
    while (now() - begun < seconds / 4.0) receive(mbox, &type);
    begun = now();
    while (measured < seconds) {
        for (int i = 0; i < 100; i++) receive(mbox, &type);
        count += 100;
        measured = now() - begun;
    }
    is_over = 1;
    while (type != LAST) receive(mbox, &type);
    CHECK_IS(pthread_join(sender, NULL), 0);
    CHECK_IS(SP_disconnect(mbox), 0);
    printf("%.0f\n", (double)count / measured);
    return 0;
}
