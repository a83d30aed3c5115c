/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs the filter of system calls as the kernel would, for each architecture that Debian releases. Calls that xfrmctl
 * needs must pass, and calls that it gives up must fail. Also checks, on the build's own architecture, that the program
 * opens its socket under the filter. */

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/forbidden.h"
#include "unit.h"

#define DENIED (SECCOMP_RET_ERRNO | EPERM)

/* Calls of socketcall() and ipc() (linux/net.h, linux/ipc.h). */
#define SOCKETCALL_SOCKET 1
#define IPC_SHMAT 21

#define ARGUMENTS_MAX 6

/* libseccomp numbers multiplexed calls downwards from these. */
#define MULTIPLEXED_SOCKET (-100)
#define MULTIPLEXED_IPC (-200)

static const struct architecture {
	const char *name;   /* as Debian names it */
	uint32_t id;	    /* SCMP_ARCH_… */
	int socket;	    /* number of socket(), whose arguments are in registers */
	bool families_seen; /* the C library calls socket() and not socketcall() */
	bool mapping_seen;  /* the protection of new memory is in a register */
	bool mmap_not_used; /* the C library calls mmap2() instead of mmap() */
} architectures[] = {
	{"amd64", SCMP_ARCH_X86_64, 41, true, true, false},
	{"arm64", SCMP_ARCH_AARCH64, 198, true, true, false},
	{"armel, armhf", SCMP_ARCH_ARM, 281, true, true, false},
	{"i386", SCMP_ARCH_X86, 359, false, true, true},
	{"mips64el", SCMP_ARCH_MIPSEL64, 5040, true, true, false},
	{"mipsel", SCMP_ARCH_MIPSEL, 4183, true, true, false},
	{"ppc64el", SCMP_ARCH_PPC64LE, 326, true, true, false},
	{"riscv64", SCMP_ARCH_RISCV64, 198, true, true, false},
	{"s390x", SCMP_ARCH_S390X, 359, false, false, false},
};

/* Calls of the program, libnl, libsystemd, jansson and the C library on any architecture. Separate tests cover socket()
 * and the calls that map memory. */
static const char *const needed_calls[] = {
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
	/* events */
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
	/* sockets */
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
	/* memory */
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
	/* processes */
	"clone",
	"clone3",
	"eventfd2",
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
	/* the program's own privileges */
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

/* A call, and its first arguments. The filter gets all bits set for each further argument. */
struct call {
	uint32_t architecture;
	int number;
	size_t n_arguments;
	uint64_t arguments[ARGUMENTS_MAX];
};

struct program {
	const struct architecture *of;
	struct sock_filter code[BPF_MAXINSNS];
	size_t n;
};

static bool is_big_endian(const struct architecture *of)
{
	return !(of->id & __AUDIT_ARCH_LE);
}

/* Generates the filter for an architecture, which need not be that of the build. */
static void make_program(struct program *program, const struct architecture *of)
{
	int n = forbidden_program(of->id, program->code, ARRAY_SIZE(program->code));

	assert_true(n > 0);
	program->of = of;
	program->n = (size_t)n;
}

/* Returns the 32 bits that the filter loads from an offset of struct seccomp_data. */
static uint32_t load(const struct program *program, const struct call *call, uint32_t offset)
{
	if (offset == offsetof(struct seccomp_data, nr))
		return (uint32_t)call->number;
	if (offset == offsetof(struct seccomp_data, arch))
		return call->architecture;
	assert_true(offset >= offsetof(struct seccomp_data, args) && offset < sizeof(struct seccomp_data));

	size_t half = (offset - offsetof(struct seccomp_data, args)) / 4;
	uint64_t value = half / 2 < call->n_arguments ? call->arguments[half / 2] : UINT64_MAX;
	return (uint32_t)((half & 1) == is_big_endian(program->of) ? value : value >> 32);
}

/* Runs the filter on a call like seccomp(2). Returns its result. */
static uint32_t verdict(const struct program *program, const struct call *call)
{
	uint32_t a = 0;

	for (size_t at = 0; at < program->n; at++) {
		const struct sock_filter *code = &program->code[at];
		bool jump;

		switch (code->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = load(program, call, code->k);
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= code->k;
			continue;
		case BPF_RET | BPF_K:
			return code->k;
		case BPF_JMP | BPF_JA:
			at += code->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			jump = a == code->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			jump = a > code->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			jump = a >= code->k;
			break;
		default:
			fail_msg("an instruction that libseccomp did not make before: %#x", code->code);
			return 0;
		}
		at += jump ? code->jt : code->jf;
	}
	fail_msg("the program runs over its end");
	return 0;
}

static uint32_t verdict_of(const struct program *program, int number, size_t n, const uint64_t *arguments)
{
	struct call call = {.architecture = program->of->id, .number = number, .n_arguments = n};

	memcpy(call.arguments, arguments, n * sizeof(*arguments));
	return verdict(program, &call);
}

/* Finds the number of a call, and the number by which socketcall() or ipc() multiplexes it (0 if neither does). Returns
 * false if the architecture does not have the call. */
static bool find(const struct architecture *of, const char *name, int *number, uint64_t *multiplexed)
{
	int call = seccomp_syscall_resolve_name_arch(of->id, name);

	if (call == __NR_SCMP_ERROR)
		fail_msg("libseccomp does not have the name %s", name);
	*multiplexed =
		call >= 0 ? 0 : (uint64_t)((call > MULTIPLEXED_IPC ? MULTIPLEXED_SOCKET : MULTIPLEXED_IPC) - call);
	*number = seccomp_syscall_resolve_name_rewrite(of->id, name);
	return *number >= 0;
}

static void expect(const struct program *program, const char *name, uint32_t expected)
{
	int number;
	uint64_t multiplexed;

	if (!find(program->of, name, &number, &multiplexed))
		return;
	/* Check the call with all bits of its arguments set, and with none. Only other values of some arguments are
	 * forbidden. */
	const uint64_t zero[ARGUMENTS_MAX] = {multiplexed};
	uint32_t with_ones = verdict_of(program, number, multiplexed ? 1 : 0, zero);
	uint32_t with_zeros = verdict_of(program, number, ARGUMENTS_MAX, zero);
	if (with_ones != expected || with_zeros != expected)
		fail_msg("%s (%d, %llu): %#x and %#x in the place of %#x", name, number,
			 (unsigned long long)multiplexed, with_ones, with_zeros, expected);
}

static void what_is_needed_passes(void **state)
{
	struct program program;

	make_program(&program, *state);
	for (size_t i = 0; i < ARRAY_SIZE(needed_calls); i++)
		expect(&program, needed_calls[i], SECCOMP_RET_ALLOW);
}

static void what_is_forbidden_fails(void **state)
{
	struct program program;

	make_program(&program, *state);
	for (size_t i = 0; i < n_forbidden_calls; i++)
		expect(&program, forbidden_calls[i], DENIED);
}

/* Checks that a call that no architecture has yet passes, because a newer C library may need it. */
static void unknown_calls_pass(void **state)
{
	const struct architecture *of = *state;
	struct program program;
	int last;
	uint64_t multiplexed;

	make_program(&program, of);
	assert_true(find(of, "landlock_create_ruleset", &last, &multiplexed));
	assert_int_equal(verdict_of(&program, last + 400, 0, NULL), SECCOMP_RET_ALLOW);
}

static void sockets(void **state)
{
	static const int families[] = {AF_INET, AF_INET6, AF_PACKET, AF_AX25, AF_KEY, AF_ALG, AF_VSOCK, AF_XDP};
	static const int needed[] = {AF_UNIX, AF_NETLINK};
	const struct architecture *of = *state;
	struct program program;
	int socketcall = seccomp_syscall_resolve_name_arch(of->id, "socketcall");

	make_program(&program, of);
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		const uint64_t arguments[] = {(uint64_t)needed[i], SOCK_RAW | SOCK_CLOEXEC, 0};
		assert_int_equal(verdict_of(&program, of->socket, 3, arguments), SECCOMP_RET_ALLOW);
	}
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const uint64_t arguments[] = {(uint64_t)families[i], SOCK_RAW | SOCK_CLOEXEC, 0};
		assert_int_equal(verdict_of(&program, of->socket, 3, arguments),
				 of->families_seen ? DENIED : SECCOMP_RET_ALLOW);
	}
	if (socketcall >= 0) {
		const uint64_t arguments[] = {SOCKETCALL_SOCKET, 0xbffff000};
		assert_int_equal(verdict_of(&program, socketcall, 2, arguments),
				 of->families_seen ? DENIED : SECCOMP_RET_ALLOW);
	}
}

static uint32_t with_protection(const struct program *program, const char *name, uint64_t protection)
{
	const uint64_t arguments[] = {0x10000, 0x1000, protection, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX, 0};

	return verdict_of(program, seccomp_syscall_resolve_name_arch(program->of->id, name), ARRAY_SIZE(arguments),
			  arguments);
}

static void executable_memory(void **state)
{
	static const char *const changes[] = {"mprotect", "pkey_mprotect"}, *const mappings[] = {"mmap", "mmap2"};
	const struct architecture *of = *state;
	struct program program;

	make_program(&program, of);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		assert_int_equal(with_protection(&program, changes[i], PROT_READ | PROT_WRITE), SECCOMP_RET_ALLOW);
		assert_int_equal(with_protection(&program, changes[i], PROT_READ | PROT_EXEC), DENIED);
	}
	for (size_t i = 0; i < ARRAY_SIZE(mappings); i++) {
		if (seccomp_syscall_resolve_name_arch(of->id, mappings[i]) < 0)
			continue;
		const bool not_used = of->mmap_not_used && strcmp(mappings[i], "mmap") == 0;
		assert_int_equal(with_protection(&program, mappings[i], PROT_READ | PROT_WRITE),
				 not_used ? DENIED : SECCOMP_RET_ALLOW);
		assert_int_equal(with_protection(&program, mappings[i], PROT_READ | PROT_WRITE | PROT_EXEC),
				 of->mapping_seen ? DENIED : SECCOMP_RET_ALLOW);
	}
}

/* Checks that a call of another architecture ends the program. The same number means a different call there, so amd64's
 * filter would allow forbidden calls of i386. */
static void calls_of_another_end_the_program(void **state)
{
	const struct architecture *of = *state;
	struct program program;

	make_program(&program, of);
	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++) {
		const struct call call = {.architecture = architectures[i].id,
					  .number = architectures[i].socket,
					  .n_arguments = 1,
					  .arguments = {AF_NETLINK}};
		assert_int_equal(verdict(&program, &call),
				 &architectures[i] == of ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL);
	}
	/* The x32 ABI sets __X32_SYSCALL_BIT. */
	if (of->id == SCMP_ARCH_X86_64)
		assert_int_equal(verdict_of(&program, 0x40000000 + of->socket, 0, NULL), SECCOMP_RET_KILL);
}

/* Checks the program under its filter. The program reports when it has no filter, and when the filter prevents it from
 * opening its socket. All other errors, such as missing privileges, come after that. */
static void the_program_opens_its_socket(void **state)
{
	(void)state;
	const char *program = getenv("XFRMCTL");
	char command[4096], said[4096];

	assert_non_null(program);
	snprintf(command, sizeof(command), "'%s' --verbose flush --dry-run 2>&1 >/dev/null", program);
	FILE *output = popen(command, "r");
	assert_non_null(output);
	said[fread(said, 1, sizeof(said) - 1, output)] = '\0';
	int status = pclose(output);
	/* An emulator of processes, such as qemu-user, has no filters. */
	if (strstr(said, "Could not give up unneeded system calls"))
		skip();
	/* The status of a shell that does not find the program is 127. */
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 126);
	assert_null(strstr(said, "filter of system calls"));
}

/* Adds a test case for each architecture. */
static void add_cases(struct cases *cases, const char *what, CMUnitTestFunction function)
{
	static char names[ARRAY_SIZE(cases->list)][64];

	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++) {
		char *name = names[cases->n];
		snprintf(name, sizeof(names[0]), "%s: %s", what, architectures[i].name);
		add_case(cases, name, function, &architectures[i]);
	}
}

int main(void)
{
	static struct cases cases;

	add_cases(&cases, "what is needed passes", what_is_needed_passes);
	add_cases(&cases, "what is forbidden fails", what_is_forbidden_fails);
	add_cases(&cases, "unknown calls pass", unknown_calls_pass);
	add_cases(&cases, "sockets", sockets);
	add_cases(&cases, "executable memory", executable_memory);
	add_cases(&cases, "calls of another architecture end the program", calls_of_another_end_the_program);
	ADD_CASE(&cases, the_program_opens_its_socket);
	return cmocka_run_group_tests_name("forbidden", cases.list, NULL, NULL);
}
