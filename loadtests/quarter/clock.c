/* The wall clock of all processes of a system, moved by one number that they share.
 *
 * Preloaded. EMPLA_CLOCK names a file whose first eight bytes say how many nanoseconds the wall clock is ahead of the machine's. It is
 * mapped before main: a process that empties its environment goes on by it, and so does what it forks. Monotonic clocks are
 * left alone, so that sleeps and deadlines last as long as ever. Whoever waits until an instant of the wall clock waits for the
 * same while by the machine's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define A_YEAR_2001 1000000000 /* Seconds: no machine has been up for so long, no wall clock shows less. */

static const int64_t none;
static const volatile int64_t *ahead = &none;
static int (*machines_clock)(clockid_t, struct timespec *);
static long (*machines_call)(long, ...);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("EMPLA_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) ahead = mapped;
  close(file);
}

static struct timespec moved(struct timespec time, int64_t by) {
  int64_t sum = time.tv_sec * SECOND + time.tv_nsec + by;
  return (struct timespec){sum / SECOND, sum % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (!machines_clock) machines_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = machines_clock(clock, time);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *time = moved(*time, *ahead);
  return failed;
}

int gettimeofday(struct timeval *time, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
  return 0;
}

time_t time(time_t *time) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (time) *time = now.tv_sec;
  return now.tv_sec;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
  struct timespec machines = moved(*until, -*ahead);
  return sem_clockwait(semaphore, CLOCK_REALTIME, &machines);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  if (until->tv_sec < A_YEAR_2001) return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, until);
  struct timespec machines = moved(*until, -*ahead);
  return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &machines);
}

/* gRPC waits by the system call itself. */
long syscall(long number, ...) {
  long a[6];
  va_list rest;
  va_start(rest, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
  va_end(rest);
  struct timespec machines;
  if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) && a[3]) {
    machines = moved(*(struct timespec *)a[3], -*ahead);
    a[3] = (long)&machines;
  }
  if (!machines_call) machines_call = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  return machines_call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
