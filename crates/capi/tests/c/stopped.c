/* A daemon that takes nothing more holds up neither forks nor goodbyes nor the end: stopped ADDRESS PID. */

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "sp.h"

/* Seconds; whoever waits without limit is ended by the alarm. */
#define TIME_LIMIT 60

static mailbox dial(const char *address) {
    mailbox opened;
    char member[MAX_GROUP_NAME];
    CHECK_IS(SP_connect(address, NULL, 0, 0, &opened, member), ACCEPT_SESSION);
    return opened;
}

/* Leaves something gathered in the library, and no room for it in the socket. */
static void fill(mailbox mbox) {
    static const char nothing[4096];
    for (int i = 0; i < 3; i++) CHECK_IS(SP_multicast(mbox, FIFO_MESS, "group", 0, 1, "x"), 1);
    /* For a moment the system finds room again. */
    for (int in_vain = 0; in_vain < 20;) {
        int is_sent = send(mbox, nothing, sizeof nothing, MSG_DONTWAIT) > 0;
        in_vain = is_sent ? 0 : in_vain + 1;
        if (!is_sent) usleep(10000);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    mailbox first = dial(argv[1]), second = dial(argv[1]), third = dial(argv[1]);
    pid_t daemon = atoi(argv[2]);
    alarm(TIME_LIMIT);
    CHECK_IS(kill(daemon, SIGSTOP), 0);
    fill(first), fill(second), fill(third);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) exit(0);
    int status;
    CHECK_IS(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_IS(SP_disconnect(first), 0);
    SP_kill(second);
    CHECK_IS(SP_multicast(first, FIFO_MESS, "group", 0, 1, "x"), ILLEGAL_SESSION);
    exit(0);
}
