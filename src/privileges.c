/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "privileges.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "report.h"
#include "util.h"

#if HAVE_SECCOMP
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* What the program, libnl, libsystemd, jansson and the C library call, on any architecture: a name that one does not
 * have is left out there. */
static const char *const allowed_calls[] = {
	/* files */
	"access",
	"close",
	"close_range",
	"faccessat",
	"faccessat2",
	"fchmod",
	"fcntl",
	"fcntl64",
	"fdatasync",
	"fstat",
	"fstat64",
	"fstatat64",
	"fstatfs",
	"fstatfs64",
	"fsync",
	"ftruncate",
	"ftruncate64",
	"getdents",
	"getdents64",
	"ioctl",
	"_llseek",
	"lseek",
	"lstat",
	"lstat64",
	"memfd_create",
	"name_to_handle_at",
	"newfstatat",
	"open",
	"openat",
	"openat2",
	"pread64",
	"pwrite64",
	"read",
	"readlink",
	"readlinkat",
	"readv",
	"rename",
	"renameat",
	"renameat2",
	"stat",
	"stat64",
	"statfs",
	"statfs64",
	"statx",
	"umask",
	"unlink",
	"unlinkat",
	"write",
	"writev",
	/* events and other processes' */
	"epoll_create1",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_wait",
	"inotify_add_watch",
	"inotify_init1",
	"inotify_rm_watch",
	"pipe",
	"pipe2",
	"poll",
	"ppoll",
	"ppoll_time64",
	"pselect6",
	"pselect6_time64",
	"select",
	/* sockets; socket() is below */
	"bind",
	"connect",
	"getpeername",
	"getsockname",
	"getsockopt",
	"recv",
	"recvfrom",
	"recvmsg",
	"send",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
	"shutdown",
	"socketpair",
	/* memory; what can make code of it is below */
	"brk",
	"madvise",
	"mremap",
	"munmap",
	/* time */
	"clock_getres",
	"clock_getres_time64",
	"clock_gettime",
	"clock_gettime64",
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"gettimeofday",
	"nanosleep",
	"time",
	/* processes: handover asks charon from a second one, arm and watch end a daemon */
	"clone",
	"clone3",
	"exit",
	"exit_group",
	"fork",
	"futex",
	"futex_time64",
	"getpid",
	"getppid",
	"gettid",
	"kill",
	"pidfd_open",
	"pidfd_send_signal",
	"rseq",
	"set_robust_list",
	"set_tid_address",
	"setns",
	"tgkill",
	"wait4",
	"waitid",
	"waitpid",
	/* itself */
	"capget",
	"capset",
	"getegid",
	"getegid32",
	"geteuid",
	"geteuid32",
	"getgid",
	"getgid32",
	"getrandom",
	"getrlimit",
	"getuid",
	"getuid32",
	"prctl",
	"prlimit64",
	"restart_syscall",
	"rt_sigaction",
	"rt_sigpending",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sched_getaffinity",
	"sched_yield",
	"sigaltstack",
	"sigreturn",
	"sysinfo",
	"ugetrlimit",
	"uname",
};

static void free_filter(scmp_filter_ctx *filter)
{
	seccomp_release(*filter);
}

/* Of a call that the architecture does not have, libseccomp makes a number below 0. */
static int allow(scmp_filter_ctx filter, const char *name, unsigned int n, struct scmp_arg_cmp argument)
{
	int call = seccomp_syscall_resolve_name(name);

	return call < 0 ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, n, &argument);
}

static int allow_all(scmp_filter_ctx filter)
{
	static const int families[] = {AF_UNIX, AF_NETLINK};
	static const char *const mappings[] = {"mmap", "mmap2", "mprotect"};
	const struct scmp_arg_cmp any = {0};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(allowed_calls) && r == 0; i++)
		r = allow(filter, allowed_calls[i], 0, any);
	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++)
		r = allow(filter, "socket", 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	for (size_t i = 0; i < ARRAY_SIZE(mappings) && r == 0; i++)
		r = allow(filter, mappings[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return r;
}

static int filter_calls(void)
{
	CLEANUP(free_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));

	if (!filter)
		return -ENOMEM;
	int r = allow_all(filter);
	return r < 0 ? r : seccomp_load(filter);
}
#else
static int filter_calls(void)
{
	return 0;
}
#endif

static int reduce_to(uint64_t keep)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static void report_kept(const char *what, int r)
{
	if (r < 0)
		report_detail("Going on with %s: %s.", what, strerror(-r));
}

void privileges_confine(uint64_t keep)
{
	report_kept("more capabilities than are needed", reduce_to(keep));
	report_kept("the way to new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0 ? -errno : 0);
	report_kept("all system calls", filter_calls());
}

void privileges_give_up(uint64_t capabilities)
{
	report_kept("more capabilities than are needed", reduce_to(~capabilities));
}
