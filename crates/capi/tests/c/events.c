/* The event loop, without a daemon. */

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "sp.h"

static char story[100];
static int pipes[3][2];

static void note(const char *what) {
    CHECK(strlen(story) + strlen(what) < sizeof story);
    strcat(story, what);
}

static void expect(const char *wanted) {
    if (strcmp(story, wanted)) {
        fprintf(stderr, "the story is '%s', expected '%s'\n", story, wanted);
        exit(1);
    }
    story[0] = 0;
}

static void at_time(int code, void *data) {
    note(data);
    if (code) E_exit_events();
}

static void again(int code, void *data) {
    sp_time now = {0, 0};
    note(data);
    if (code > 1) CHECK_IS(E_queue(again, code - 1, data, now), 0);
    if (code == 1) E_exit_events();
}

/* What a function does after it has read. */
enum { GO_ON, END, END_SOON };

static void after(int milliseconds, int is_last, const char *what) {
    sp_time delta = {milliseconds / 1000, milliseconds % 1000 * 1000};
    CHECK_IS(E_queue(at_time, is_last, (void *)what, delta), 0);
}

static void on_fd(int fd, int code, void *data) {
    char byte;
    CHECK_IS(read(fd, &byte, 1), 1);
    note(data);
    if (code == END) E_exit_events();
    if (code == END_SOON) after(30, 1, "t");
}

static void detach_other(int fd, int code, void *data) {
    on_fd(fd, END_SOON, data);
    CHECK_IS(E_detach_fd(code, READ_FD), 0);
}

static void times(void) {
    sp_time one = {1, 900000}, other = {0, 200000}, sum = {2, 100000}, difference = {1, 700000};
    CHECK_IS(E_compare_time(E_add_time(one, other), sum), 0);
    CHECK_IS(E_compare_time(E_sub_time(one, other), difference), 0);
    CHECK_IS(E_compare_time(one, other), 1);
    sp_time begun = E_get_time(), nap = {0, 20000};
    E_delay(nap);
    CHECK(E_compare_time(E_get_time(), E_add_time(begun, nap)) >= 0);

    static char same[] = "x", never[] = "n";
    after(60000, 0, never), after(10, 0, "a"), after(20, 0, "b"), after(30, 1, "c");
    E_handle_events();
    expect("abc");
    CHECK_IS(E_dequeue(at_time, 0, never), 0);
    CHECK_IS(E_dequeue(at_time, 0, never), -1);
    after(60000, 1, same), after(10, 1, same); /* moved, not doubled */
    CHECK_IS(E_in_queue(at_time, 1, same), 1);
    E_handle_events();
    CHECK_IS(E_in_queue(at_time, 1, same), 0);
    expect("x");
    sp_time now = {0, 0};
    CHECK_IS(E_queue(again, 3, "r", now), 0);
    E_handle_events();
    expect("rrr");
    after(0, 0, "gone");
    E_dequeue_all_time_events();
}

static void fill(int which) { CHECK_IS(write(pipes[which][1], "x", 1), 1); }

static void attach(int which, int code, char *name) {
    CHECK_IS(E_attach_fd(pipes[which][0], READ_FD, on_fd, code, name, which), 0);
    CHECK_IS(E_num_active(which), 1);
}

static void priorities(void) {
    for (int i = 0; i < 3; i++) CHECK_IS(pipe(pipes[i]), 0);
    attach(LOW_PRIORITY, END, "l"), attach(MEDIUM_PRIORITY, GO_ON, "m"), attach(HIGH_PRIORITY, GO_ON, "h");
    fill(0), fill(1), fill(2), fill(2);
    E_handle_events();
    expect("hhml");

    /* Below the threshold, and inactive ones, are passed over. */
    attach(HIGH_PRIORITY, END_SOON, "h"), attach(MEDIUM_PRIORITY, END_SOON, "m");
    fill(0), fill(1), fill(2);
    CHECK_IS(E_set_active_threshold(HIGH_PRIORITY), 0);
    E_handle_events();
    expect("ht");
    CHECK_IS(E_set_active_threshold(LOW_PRIORITY), 0);
    CHECK_IS(E_deactivate_fd(pipes[0][0], READ_FD), 0);
    CHECK_IS(E_num_active(LOW_PRIORITY), 0);
    E_handle_events();
    expect("mt");
    CHECK_IS(E_activate_fd(pipes[0][0], READ_FD), 0);
    E_handle_events();
    expect("l");
}

static void attaching(void) {
    /* One of the same priority detaches the other, which is not called any more. */
    CHECK_IS(E_detach_fd_priority(pipes[0][0], READ_FD, MEDIUM_PRIORITY), -1);
    CHECK_IS(E_detach_fd_priority(pipes[0][0], READ_FD, LOW_PRIORITY), 0);
    CHECK_IS(E_attach_fd(pipes[0][0], READ_FD, detach_other, pipes[1][0], "d", MEDIUM_PRIORITY), 0);
    CHECK(pipes[0][0] < pipes[1][0]); /* so it comes first */
    fill(0), fill(1);
    E_handle_events();
    expect("dt");
    CHECK_IS(E_attach_fd(pipes[2][1], WRITE_FD, on_fd, 0, NULL, 3), -1);
    CHECK_IS(E_attach_fd(-1, WRITE_FD, on_fd, 0, NULL, 0), -1);
    CHECK_IS(E_attach_fd(pipes[2][1], 3, on_fd, 0, NULL, 0), -1);
    CHECK_IS(E_attach_fd(pipes[2][1], WRITE_FD, NULL, 0, NULL, 0), -1);
    CHECK_IS(E_detach_fd(pipes[2][1], WRITE_FD), -1);
    CHECK_IS(E_activate_fd(pipes[2][1], WRITE_FD), -1);
    CHECK_IS(E_num_active(7), -1);
    CHECK_IS(E_set_active_threshold(-1), -1);

    /* A descriptor closed without being detached does not keep the loop busy. */
    close(pipes[2][0]);
    after(30, 1, "t");
    E_handle_events();
    expect("t");
    CHECK_IS(E_num_active(HIGH_PRIORITY), 0);
}

/* What happens when the loop has looked at everything and is about to wait. */
static void (*before_poll)(void);
static int polls;

/* Takes the place of the system's function, in the library too. */
int poll(struct pollfd *entries, nfds_t count, int timeout) {
    struct timespec time = {timeout / 1000, timeout % 1000 * 1000000L};
    void (*meanwhile)(void) = before_poll;
    before_poll = NULL;
    polls++;
    if (meanwhile) meanwhile();
    return (int)syscall(SYS_ppoll, entries, count, timeout < 0 ? NULL : &time, NULL, 0);
}

static void on_signal(int number) {
    (void)number;
    E_exit_events();
}

static void interrupt(void) { CHECK_IS(raise(SIGUSR1), 0); }

/* The child has a loop of its own, in which it does not see that of its parent end. */
static void interrupt_and_fork(void) {
    int status;
    interrupt();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        CHECK_IS(E_init(), 0);
        after(20, 1, "c");
        E_handle_events();
        before_poll = interrupt;
        E_handle_events();
        _exit(0);
    }
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A loop that can have no descriptor of its own ends all the same. */
static void exits_without_descriptors(void) {
    struct rlimit before, none;
    CHECK_IS(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before, none.rlim_cur = 3;
    CHECK_IS(setrlimit(RLIMIT_NOFILE, &none), 0);
    before_poll = interrupt;
    E_handle_events();
    CHECK_IS(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* The loop ends although the signal came when it was about to wait for ever. */
static void exits(void) {
    for (int round = 0; round < 3; round++) {
        before_poll = interrupt;
        E_handle_events();
        before_poll = interrupt_and_fork;
        E_handle_events();
    }
    after(10, 1, "t"); /* and none of it ends the next one early */
    E_handle_events();
    expect("t");
}

static void count(int fd, int code, void *data) {
    CHECK(fd >= 0 && code == 0);
    ++*(int *)data;
}

/* What has been hung up is no exception, as with select; nor does it keep the loop busy, or from others. */
static void hang_ups(void) {
    int ends[2], exceptions = 0, calls = 0;
    CHECK_IS(E_init(), 0);
    CHECK_IS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    CHECK_IS(close(ends[1]), 0);
    CHECK_IS(E_attach_fd(ends[0], EXCEPT_FD, count, 0, &exceptions, HIGH_PRIORITY), 0);
    polls = 0;
    after(30, 1, "t");
    E_handle_events();
    expect("t");
    CHECK_IS(exceptions, 0);
    CHECK(polls < 10);
    fill(1);
    CHECK_IS(E_attach_fd(pipes[1][0], READ_FD, on_fd, END, "m", MEDIUM_PRIORITY), 0);
    E_handle_events();
    expect("m");
    before_poll = interrupt;
    E_handle_events();

    /* Who reads or writes is told, to see the end or the error. */
    for (int kind = READ_FD; kind <= WRITE_FD; kind++) {
        calls = 0;
        CHECK_IS(E_attach_fd(ends[0], kind, count, 0, &calls, HIGH_PRIORITY), 0);
        after(0, 0, "a"), after(10, 1, "b");
        E_handle_events();
        expect("ab");
        CHECK(calls > 0);
        CHECK_IS(E_detach_fd(ends[0], kind), 0);
    }
    CHECK_IS(exceptions, 0);
    CHECK_IS(E_detach_fd(ends[0], EXCEPT_FD), 0);
    CHECK_IS(close(ends[0]), 0);
}

/* A program that closes all descriptors, also those that it does not know, does not keep the loop busy. */
static void closed_by_the_program(void) {
    for (int fd = 3; fd < 100; fd++) close(fd);
    polls = 0;
    after(30, 1, "t");
    E_handle_events();
    expect("t");
    CHECK(polls < 10);
    before_poll = interrupt;
    E_handle_events();
}

int main(void) {
    CHECK(signal(SIGUSR1, on_signal) != SIG_ERR);
    alarm(120);
    CHECK_IS(E_init(), 0);
    exits_without_descriptors();
    times();
    priorities();
    attaching();
    CHECK_IS(E_init(), 0);
    exits();
    hang_ups();
    closed_by_the_program();
    CHECK_IS(E_init(), 0);
    CHECK_IS(E_num_active(LOW_PRIORITY), 0);
    return 0;
}
