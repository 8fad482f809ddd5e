/* Virtual synchrony: closed groups, and messages delivered in the view in which they were sent. */

#ifndef ANTIPHON_FL_H
#define ANTIPHON_FL_H

#include "sp.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Given to FL_receive: do not wait. */
#define DONT_BLOCK 0x10000000
/* What FL_receive returns when the group wants to change: answer with FL_flush. */
#define FLUSH_REQ_MESS 0x20000000
/* Beside the service of a message that went to some of the members only. */
#define SUBGROUP_CAST 0x40000000

#define Is_flush_req_mess(type) ((type) & FLUSH_REQ_MESS)
#define Is_subgroup_cast_mess(type) ((type) & SUBGROUP_CAST)

/* Results, beside those of sp.h. */
#define ILLEGAL_PARAM (-24)
#define WOULD_BLOCK (-25)
#define ILLEGAL_MESSAGE_TYPE (-26)
#define ILLEGAL_STATE (-27)
#define ILLEGAL_RECEIVERS (-28)

int FL_lib_init(void);
int FL_version(int *major_version, int *minor_version, int *patch_version);
void FL_error(int error);

int FL_connect(const char *daemon_name, const char *user_name, int priority, mailbox *mbox,
               char *private_name);
int FL_disconnect(mailbox mbox);

int FL_join(mailbox mbox, const char *group_name);
int FL_leave(mailbox mbox, const char *group_name);
int FL_flush(mailbox mbox, const char *group_name);

int FL_multicast(mailbox mbox, service serv_type, const char *group_name, int16 mess_type,
                 int mess_len, const char *mess);
int FL_scat_multicast(mailbox mbox, service serv_type, const char *group_name, int16 mess_type,
                      const scatter *scat_mess);
int FL_unicast(mailbox mbox, service serv_type, const char *group_name, const char *recvr_name,
               int16 mess_type, int mess_len, const char *mess);
int FL_scat_unicast(mailbox mbox, service serv_type, const char *group_name,
                    const char *recvr_name, int16 mess_type, const scatter *scat_mess);
int FL_subgroupcast(mailbox mbox, service serv_type, const char *group_name, int num_recvrs,
                    const char recvr_names[][MAX_GROUP_NAME], int16 mess_type, int mess_len,
                    const char *mess);
int FL_scat_subgroupcast(mailbox mbox, service serv_type, const char *group_name, int num_recvrs,
                         const char recvr_names[][MAX_GROUP_NAME], int16 mess_type,
                         const scatter *scat_mess);

int FL_receive(mailbox mbox, service *serv_type, char *sender, int max_groups, int *num_groups,
               char groups[][MAX_GROUP_NAME], int16 *mess_type, int *endian_mismatch,
               int max_mess_len, char *mess, int *more_messes);
int FL_scat_receive(mailbox mbox, service *serv_type, char *sender, int max_groups,
                    int *num_groups, char groups[][MAX_GROUP_NAME], int16 *mess_type,
                    int *endian_mismatch, scatter *scat_mess, int *more_messes);
int FL_more_msgs(mailbox mbox);
int FL_poll(mailbox mbox);

/* Where things stand in the body of a view. */
int FL_get_gid_offset_memb_mess(void);
int FL_get_num_vs_offset_memb_mess(void);
int FL_get_vs_set_offset_memb_mess(void);

#ifdef __cplusplus
}
#endif

#endif
