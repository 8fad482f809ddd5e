/* Talks to groups, as one types: user ADDRESS NAME. j GROUP, l GROUP, s GROUP TEXT, q. */

#include <unistd.h>

#include "check.h"
#include "sp.h"

#define MAX_MEMBERS 100

static mailbox mbox;

static void on_message(int fd, int code, void *data) {
    static char body[100000], members[MAX_MEMBERS][MAX_GROUP_NAME];
    char sender[MAX_GROUP_NAME];
    service kind = 0;
    int16 type;
    int count, mismatch;
    (void)code, (void)data;
    int length = SP_receive(fd, &kind, sender, MAX_MEMBERS, &count, members, &type, &mismatch,
                            sizeof body, body);
    if (length < 0) {
        SP_error(length);
        exit(1);
    }
    if (Is_regular_mess(kind)) {
        printf("%s says %.*s\n", sender, length, body);
    } else if (Is_reg_memb_mess(kind)) {
        membership_info info;
        CHECK_IS(SP_get_memb_info(body, kind, &info), 1);
        printf("%s has %d members, I am number %d; changed: %s\n", sender, count, type, info.changed_member);
    } else if (Is_transition_mess(kind)) {
        printf("%s is in transition\n", sender);
    } else {
        printf("out of %s\n", sender);
    }
    fflush(stdout);
}

static void on_line(int fd, int code, void *data) {
    static char input[1000];
    static size_t held;
    (void)code, (void)data;
    ssize_t got = read(fd, input + held, sizeof input - 1 - held);
    if (got <= 0) {
        E_exit_events();
        return;
    }
    held += (size_t)got, input[held] = 0;
    for (char *end; (end = strchr(input, '\n'));) {
        char group[MAX_GROUP_NAME] = "", text[500] = "", what = 0;
        *end = 0;
        sscanf(input, "%c %31s %499[^\n]", &what, group, text);
        int done = what == 'j'   ? SP_join(mbox, group)
                   : what == 'l' ? SP_leave(mbox, group)
                   : what == 's' ? SP_multicast(mbox, SAFE_MESS, group, 1, (int)strlen(text), text)
                                 : 0;
        if (done < 0) SP_error(done);
        if (what == 'q') E_exit_events();
        held -= (size_t)(end + 1 - input);
        memmove(input, end + 1, held + 1);
    }
}

static void on_time(int code, void *data) {
    (void)code, (void)data;
    printf("nothing for a long time\n");
    exit(1);
}

int main(int argc, char **argv) {
    char name[MAX_GROUP_NAME];
    sp_time patience = {30, 0};
    CHECK(argc == 3);
    int connected = SP_connect(argv[1], argv[2], 0, 1, &mbox, name);
    if (connected != ACCEPT_SESSION) {
        SP_error(connected);
        return 1;
    }
    printf("I am %s\n", name);
    fflush(stdout);
    CHECK_IS(E_init(), 0);
    CHECK_IS(E_attach_fd(0, READ_FD, on_line, 0, NULL, LOW_PRIORITY), 0);
    CHECK_IS(E_attach_fd(mbox, READ_FD, on_message, 0, NULL, HIGH_PRIORITY), 0);
    CHECK_IS(E_queue(on_time, 0, NULL, patience), 0);
    E_handle_events();
    return SP_disconnect(mbox);
}
