/* What the library prints comes in turn with what the program prints. */

#include <stdio.h>

#include "fl.h"
#include "sp.h"

int main(void) {
    printf("first: ");
    SP_error(ILLEGAL_GROUP);
    printf("then: ");
    FL_error(WOULD_BLOCK);
    printf("last\n");
    return 0;
}
