/* Times, and a loop that calls functions at times and for descriptors. */

#ifndef ANTIPHON_SP_EVENTS_H
#define ANTIPHON_SP_EVENTS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Priorities, of sessions and of descriptors. */
#define LOW_PRIORITY 0
#define MEDIUM_PRIORITY 1
#define HIGH_PRIORITY 2
#define NUM_PRIORITY 3

/* What of a descriptor is waited for. */
#define READ_FD 0
#define WRITE_FD 1
#define EXCEPT_FD 2
#define NUM_FDTYPES 3

/* A time or a duration. */
typedef struct {
    long sec;
    long usec;
} sp_time;

int E_init(void);

sp_time E_get_time(void);
sp_time E_sub_time(sp_time time, sp_time delta);
sp_time E_add_time(sp_time time, sp_time delta);
int E_compare_time(sp_time one, sp_time other);
void E_delay(sp_time time);

int E_queue(void (*function)(int code, void *data), int code, void *data, sp_time delta);
int E_in_queue(void (*function)(int code, void *data), int code, void *data);
int E_dequeue(void (*function)(int code, void *data), int code, void *data);
void E_dequeue_all_time_events(void);

int E_attach_fd(int fd, int fd_type, void (*function)(int fd, int code, void *data), int code,
                void *data, int priority);
int E_detach_fd(int fd, int fd_type);
int E_detach_fd_priority(int fd, int fd_type, int priority);
int E_activate_fd(int fd, int fd_type);
int E_deactivate_fd(int fd, int fd_type);
int E_set_active_threshold(int priority);
int E_num_active(int priority);

void E_handle_events(void);
void E_exit_events(void);

#ifdef __cplusplus
}
#endif

#endif
