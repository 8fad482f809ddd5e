/* What the test programs share. */

#ifndef CHECK_H
#define CHECK_H

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void check(int holds, const char *file, int line, const char *condition) {
    if (holds) return;
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    exit(1);
}

static inline void check_is(long is, long expected, const char *file, int line, const char *what) {
    if (is == expected) return;
    fprintf(stderr, "%s:%d: %s is %ld, expected %ld\n", file, line, what, is, expected);
    exit(1);
}

/* Ends the program when a condition does not hold. */
#define CHECK(condition) check((condition) ? 1 : 0, __FILE__, __LINE__, #condition)

/* As CHECK, for two numbers, which are shown. */
#define CHECK_IS(number, expected) check_is((number), (expected), __FILE__, __LINE__, #number)

/* Whether a descriptor becomes readable in time. */
static inline int is_readable(int fd, int milliseconds) {
    struct pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&entry, 1, milliseconds) == 1;
}

#endif
