/* Group communication with Antiphon and every daemon of the same client protocol.
 *
 * The interface of libspread: constants, types and functions. What each function does stands in
 * docs/c-library.md. */

#ifndef ANTIPHON_SP_H
#define ANTIPHON_SP_H

#include <stddef.h>

/* Version of the interface, as SP_version tells it at run time. */
#define SPREAD_VERSION ((4 << 24) | (4 << 16) | 0)

/* Sizes. Names are texts that end with a NUL, which these count. */
#define MAX_GROUP_NAME 32
#define MAX_PROC_NAME 20
/* Longest private name, without its NUL. */
#define MAX_PRIVATE_NAME 10
#define MAX_CLIENT_SCATTER_ELEMENTS 100

/* Service types. A message is sent with one of the first six. */
#define UNRELIABLE_MESS 0x00000001
#define RELIABLE_MESS 0x00000002
#define FIFO_MESS 0x00000004
#define CAUSAL_MESS 0x00000008
#define AGREED_MESS 0x00000010
#define SAFE_MESS 0x00000020
#define REGULAR_MESS 0x0000003f
/* Beside one of them: the sender does not want its own copy. */
#define SELF_DISCARD 0x00000040

/* What a membership message is about, and which kind of one it is. */
#define CAUSED_BY_JOIN 0x00000100
#define CAUSED_BY_LEAVE 0x00000200
#define CAUSED_BY_DISCONNECT 0x00000400
#define CAUSED_BY_NETWORK 0x00000800
#define REG_MEMB_MESS 0x00001000
#define TRANSITION_MESS 0x00002000
#define MEMBERSHIP_MESS 0x00003f00

/* Not to be used by programs. */
#define RESERVED 0x003fc000
/* A request that came back. */
#define REJECT_MESS 0x00400000
/* Given to SP_receive: drop what does not fit. */
#define DROP_RECV 0x01000000

/* Questions about the type of a received message. */
#define Is_unreliable_mess(type) ((type) & UNRELIABLE_MESS)
#define Is_reliable_mess(type) ((type) & RELIABLE_MESS)
#define Is_fifo_mess(type) ((type) & FIFO_MESS)
#define Is_causal_mess(type) ((type) & CAUSAL_MESS)
#define Is_agreed_mess(type) ((type) & AGREED_MESS)
#define Is_safe_mess(type) ((type) & SAFE_MESS)
#define Is_regular_mess(type) (((type) & REGULAR_MESS) && !((type) & REJECT_MESS))
#define Is_self_discard(type) ((type) & SELF_DISCARD)
#define Is_reg_memb_mess(type) ((type) & REG_MEMB_MESS)
#define Is_transition_mess(type) ((type) & TRANSITION_MESS)
#define Is_caused_join_mess(type) ((type) & CAUSED_BY_JOIN)
#define Is_caused_leave_mess(type) ((type) & CAUSED_BY_LEAVE)
#define Is_caused_disconnect_mess(type) ((type) & CAUSED_BY_DISCONNECT)
#define Is_caused_network_mess(type) ((type) & CAUSED_BY_NETWORK)
#define Is_membership_mess(type) (((type) & MEMBERSHIP_MESS) && !((type) & REJECT_MESS))
#define Is_self_leave(type) \
    (((type) & CAUSED_BY_LEAVE) && !((type) & (REG_MEMB_MESS | TRANSITION_MESS)))
#define Is_reject_mess(type) ((type) & REJECT_MESS)

/* Results. SP_connect returns the first one when the session is open. */
#define ACCEPT_SESSION 1
#define ILLEGAL_SPREAD (-1)
#define COULD_NOT_CONNECT (-2)
#define REJECT_QUOTA (-3)
#define REJECT_NO_NAME (-4)
#define REJECT_ILLEGAL_NAME (-5)
#define REJECT_NOT_UNIQUE (-6)
#define REJECT_VERSION (-7)
#define CONNECTION_CLOSED (-8)
#define REJECT_AUTH (-9)
#define ILLEGAL_SESSION (-11)
#define ILLEGAL_SERVICE (-12)
#define ILLEGAL_MESSAGE (-13)
#define ILLEGAL_GROUP (-14)
#define BUFFER_TOO_SHORT (-15)
#define GROUPS_TOO_SHORT (-16)
#define MESSAGE_TOO_LONG (-17)
#define NET_ERROR_ON_SESSION (-18)
#define SP_BUG (-19)
#define ILLEGAL_TIME (-20)

/* A session: the descriptor of its socket, which may be given to select and poll. */
typedef int mailbox;
typedef int service;
typedef short int16;
typedef int int32;

/* Identity of a view; see SP_equal_group_ids. */
typedef struct {
    int32 id[3];
} group_id;

/* A body in pieces. */
typedef struct {
    char *buf;
    size_t len;
} scat_element;

typedef struct {
    size_t num_elements;
    scat_element elements[MAX_CLIENT_SCATTER_ELEMENTS];
} scatter;

/* A virtual synchrony set in the body of a view. */
typedef struct {
    unsigned int num_members;
    unsigned int members_offset;
} vs_set_info;

/* What the body of a membership message says. */
typedef struct {
    group_id gid;
    char changed_member[MAX_GROUP_NAME];
    unsigned int num_vs_sets;
    vs_set_info my_vs_set;
} membership_info;

#include "sp_events.h"
#include "sp_func.h"

#endif
