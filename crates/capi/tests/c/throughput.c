/* How many messages a second one sender gets to one receiver: throughput ADDRESS BYTES SECONDS. Prints a
 * number. The method is that of crates/cli/tests/library_throughput.rs. */

#include <pthread.h>

#include "check.h"
#include "sp.h"

#define GROUP "throughput"
#define MAX_BYTES 100000
#define LAST 1

static const char *address;
static int bytes;
static double seconds;
static pthread_barrier_t joined;

static mailbox dial(const char *name, int membership) {
    mailbox mbox;
    char member[MAX_GROUP_NAME];
    CHECK_IS(SP_connect(address, name, 0, membership, &mbox, member), ACCEPT_SESSION);
    return mbox;
}

static double now(void) {
    sp_time time = E_get_time();
    return (double)time.sec + (double)time.usec / 1e6;
}

static void *send_for_the_time(void *nothing) {
    static char body[MAX_BYTES];
    mailbox mbox = dial("sender", 0);
    pthread_barrier_wait(&joined);
    double begun = now();
    while (now() - begun < seconds)
        for (int i = 0; i < 100; i++) CHECK_IS(SP_multicast(mbox, AGREED_MESS, GROUP, 0, bytes, body), bytes);
    CHECK_IS(SP_multicast(mbox, AGREED_MESS, GROUP, LAST, bytes, body), bytes);
    CHECK_IS(SP_disconnect(mbox), 0);
    return nothing;
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
    address = argv[1], bytes = atoi(argv[2]), seconds = atof(argv[3]);
    CHECK(bytes >= 0 && bytes <= MAX_BYTES);
    pthread_barrier_init(&joined, NULL, 2);
    mailbox mbox = dial("receiver", 1);
    CHECK_IS(SP_join(mbox, GROUP), 0);
    service view = receive(mbox, &type);
    CHECK(Is_reg_memb_mess(view));
    CHECK_IS(pthread_create(&sender, NULL, send_for_the_time, NULL), 0);
    pthread_barrier_wait(&joined);

    long count = 0;
    double first = 0;
    for (receive(mbox, &type); type != LAST; receive(mbox, &type))
        if (!count++) first = now();
    double last = now();
    CHECK_IS(pthread_join(sender, NULL), 0);
    CHECK_IS(SP_disconnect(mbox), 0);
    printf("%.0f\n", (double)count / (last - first));
    return 0;
}
