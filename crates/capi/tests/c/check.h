/* What the test programs share. */

#ifndef CHECK_H
#define CHECK_H

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program when a condition does not hold. */
#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* As CHECK, for two numbers, which are shown. */
#define CHECK_IS(number, expected)                                                      \
    do {                                                                                \
        long is_ = (number), expected_ = (expected);                                    \
        if (is_ != expected_) {                                                         \
            fprintf(stderr, "%s:%d: %s is %ld, expected %s (%ld)\n", __FILE__,          \
                    __LINE__, #number, is_, #expected, expected_);                      \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* Whether a descriptor becomes readable in time. */
static inline int is_readable(int fd, int milliseconds) {
    struct pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&entry, 1, milliseconds) == 1;
}

#endif
