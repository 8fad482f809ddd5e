/* Threads, forks, many sessions, and the end of a process: processes ADDRESS. */

#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "sp.h"

#define TIME_LIMIT 20000
#define SENDERS 4
#define EACH 500
#define MANY 1100

static const char *address;
static mailbox mbox;
static char me[MAX_GROUP_NAME];

static mailbox dial(const char *name, char *member) {
    mailbox opened;
    CHECK_IS(SP_connect(address, name, 0, 0, &opened, member), ACCEPT_SESSION);
    return opened;
}

static int receive_from(mailbox from, int *number) {
    char sender[MAX_GROUP_NAME], groups[1][MAX_GROUP_NAME];
    service kind = 0;
    int16 type;
    int count, mismatch;
    int length = SP_receive(from, &kind, sender, 1, &count, groups, &type, &mismatch, sizeof *number,
                            (char *)number);
    return length < 0 ? length : type;
}

static int receive(int *number) {
    CHECK(is_readable(mbox, TIME_LIMIT));
    return receive_from(mbox, number);
}

static void *send_numbers(void *which) {
    for (int i = 0; i < EACH; i++)
        CHECK_IS(SP_multicast(mbox, FIFO_MESS, me, (int16)(long)which, sizeof i, (char *)&i), sizeof i);
    return NULL;
}

/* Several threads send on one session while another receives: each one's messages keep their order. */
static void threads(void) {
    pthread_t senders[SENDERS];
    int next[SENDERS] = {0}, number;
    for (long i = 0; i < SENDERS; i++)
        CHECK_IS(pthread_create(&senders[i], NULL, send_numbers, (void *)i), 0);
    for (int i = 0; i < SENDERS * EACH; i++) {
        int which = receive(&number);
        CHECK(which >= 0 && which < SENDERS);
        CHECK_IS(number, next[which]++);
    }
    for (int i = 0; i < SENDERS; i++) CHECK_IS(pthread_join(senders[i], NULL), 0);
}

static void *wait_for_the_end(void *from) {
    int number;
    return (void *)(long)receive_from(*(mailbox *)from, &number);
}

/* Opens a session in which a thread waits. */
static void open_waiting(mailbox *other, char *member, pthread_t *waiting) {
    *other = dial(NULL, member);
    CHECK_IS(pthread_create(waiting, NULL, wait_for_the_end, other), 0);
    usleep(50000);
}

/* Who waits on a session that another thread ends is woken up. */
static void ended_while_waiting(int by_kill) {
    pthread_t waiting;
    void *result;
    char member[MAX_GROUP_NAME];
    mailbox other;
    open_waiting(&other, member, &waiting);
    if (by_kill)
        SP_kill(other);
    else
        CHECK_IS(SP_disconnect(other), 0);
    CHECK_IS(pthread_join(waiting, &result), 0);
    CHECK((long)result == CONNECTION_CLOSED);
}

static int status_of(pid_t child) {
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void send_some(int from, int count) {
    for (int i = from; i < from + count; i++)
        CHECK_IS(SP_multicast(mbox, FIFO_MESS, me, 0, sizeof i, (char *)&i), sizeof i);
}

/* A child that goes on with the session, after a burst of the parent; nothing is lost or doubled. */
static void child_takes_over(void) {
    int number;
    send_some(0, 50);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        send_some(50, 50);
        exit(0); /* writes what was gathered */
    }
    CHECK_IS(status_of(child), 0);
    for (int i = 0; i < 100; i++) CHECK_IS(receive(&number), 0), CHECK_IS(number, i);
    CHECK(!is_readable(mbox, 50));
}

/* A child that lets go of the session, or closes the mailbox by itself, so that its own session gets the same
 * number. */
static void child_has_its_own(bool closes) {
    int number;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char name[MAX_GROUP_NAME];
        if (closes) CHECK_IS(close(mbox), 0);
        else SP_kill(mbox);
        mailbox own = dial(NULL, name);
        CHECK(!closes || own == mbox);
        for (int i = 0; i < 50; i++) CHECK_IS(SP_multicast(own, FIFO_MESS, me, 1, sizeof i, (char *)&i), sizeof i);
        CHECK_IS(SP_disconnect(own), 0);
        exit(0);
    }
    CHECK_IS(status_of(child), 0);
    for (int i = 0; i < 50; i++) CHECK_IS(receive(&number), 1), CHECK_IS(number, i);
    send_some(7, 1);
    CHECK_IS(receive(&number), 0), CHECK_IS(number, 7);
}

/* What a mailbox had gathered when it was closed does not get into the session that has its number next. */
static void closed_in_a_burst(void) {
    for (int round = 0; round < 20; round++) {
        char name[MAX_GROUP_NAME];
        mailbox former = dial(NULL, name);
        for (int i = 0; i < 20; i++) CHECK_IS(SP_multicast(former, FIFO_MESS, name, 0, sizeof i, (char *)&i), sizeof i);
        CHECK_IS(close(former), 0);
        mailbox next = dial(NULL, name);
        CHECK_IS(next, former);
        CHECK_IS(SP_disconnect(next), 0);
    }
}

/* A child that lets go of the session while a thread of the parent waits in it. */
static void child_lets_go_of_a_waiting_one(void) {
    pthread_t waiting;
    void *result;
    char member[MAX_GROUP_NAME];
    mailbox other;
    open_waiting(&other, member, &waiting);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        SP_kill(other);
        _exit(0);
    }
    CHECK_IS(status_of(child), 0);
    CHECK_IS(SP_multicast(mbox, FIFO_MESS, member, 3, 0, NULL), 0);
    CHECK_IS(pthread_join(waiting, &result), 0);
    CHECK_IS((long)result, 3);
    CHECK_IS(SP_disconnect(other), 0);
}

/* What a function sends that was registered before any session was opened, and so runs last of all. */
static int has_last_words;

static void say_last_words(void) {
    if (has_last_words) send_some(0, 50);
}

static void child_speaks_last(void) {
    int number;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        has_last_words = 1;
        exit(0);
    }
    CHECK_IS(status_of(child), 0);
    for (int i = 0; i < 50; i++) CHECK_IS(receive(&number), 0), CHECK_IS(number, i);
}

/* More sessions than fit into a set of select. */
static void many(void) {
    static mailbox sessions[MANY];
    char name[MAX_GROUP_NAME];
    struct rlimit limit;
    int number;
    CHECK_IS(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK_IS(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int count = limit.rlim_cur > MANY + 50 ? MANY : (int)limit.rlim_cur - 50;
    for (int i = 0; i < count; i++) sessions[i] = dial(NULL, name);
    CHECK_IS(SP_multicast(sessions[0], FIFO_MESS, name, 3, 0, NULL), 0);
    CHECK(is_readable(sessions[count - 1], TIME_LIMIT));
    CHECK_IS(receive_from(sessions[count - 1], &number), 3);
    for (int i = 0; i < count; i++) CHECK_IS(SP_disconnect(sessions[i]), 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK_IS(atexit(say_last_words), 0);
    address = argv[1];
    mbox = dial("processes", me);
    threads();
    ended_while_waiting(0);
    ended_while_waiting(1);
    child_takes_over();
    child_has_its_own(false);
    child_has_its_own(true);
    closed_in_a_burst();
    child_speaks_last();
    child_lets_go_of_a_waiting_one();
    many();
    CHECK_IS(SP_disconnect(mbox), 0);
    return 0;
}
