/*
 * An LD_PRELOAD library for Linux with glibc (x86_64, aarch64) that a test puts under a process to
 *   - record, in their true order, the file operations on one directory;
 *   - make writes and syncs of those files fail;
 *   - shift the wall clock.
 *
 *     cc -shared -fPIC -O2 -Wall -Wextra -Werror -o shim.so shim.c -ldl -lpthread
 *
 * Environment
 *   RELAY_SHIM_CONTROL  an existing file of at least 4096 bytes: the control page. It is mapped
 *                       shared, so the test steers with plain pwrite(). Unset: nothing is done.
 *   RELAY_SHIM_WATCH    absolute directory without a trailing slash. A regular file opened at a
 *                       path below it, symbolic links to directories resolved, is "watched".
 *   RELAY_SHIM_LOG      optional: the log, appended to. It must lie outside the watched directory.
 *
 * Control page: see struct control.
 *
 * Log: records of u32 kind, u32 file, u64 offset, u64 length, then `length` bytes of payload.
 *    1 WRITE     offset, payload = the bytes really written
 *    2 TRUNCATE  offset = the new size
 *    3 SYNC      a successful fsync or fdatasync; every earlier WRITE of the file was complete
 *    4 OPEN      at every open: payload = path below the directory, offset = 1 if the file was
 *                created or emptied. Ids count from 0. A path keeps its id until it is unlinked or
 *                renamed (the id then goes with the file) or renamed over. A new id with offset 0
 *                for a known path means that something unseen replaced the file
 *    5 UNLINK    payload = path
 *    6 RENAME    payload = old path, NUL, new path (of a file or of a directory)
 *    7 SYNC_DIR  fsync of the watched directory or one below it; file = 0xffffffff
 *    8 ALLOCATE  offset = the new size, after an fallocate that grew the file
 *   UNLINK and RENAME carry the id of the file they take away or move, or 0xffffffff if never
 *   opened. Operations that fail are not recorded, but the bytes of a torn write are.
 *
 * The real operation and its record happen under one mutex. After a SIGKILL from outside, the last
 * operation can be missing in the log, or lie (perhaps cut off) after its first log_bytes bytes;
 * after one by kill_at_record the log ends exactly with that operation. Only one process writes a
 * log: what it forks or executes still gets the faults and the clock, but records nothing. (So put
 * the library under the server itself, not under a shell that stays around as its parent.)
 *
 * Not seen: raw system calls (as rustix makes them), io_uring, stdio streams and other calls from
 * inside libc, the __open_2() of fortified C, copies inside the kernel (copy_file_range, sendfile,
 * splice), stores to mapped files, files opened before exec, O_TMPFILE, link(), truncate() by path,
 * mkdir() and rmdir(). What is seen but has no place in the log (a rename into the directory from
 * outside, an exchange, a punched hole) ends the process with status 98, as does a log that cannot
 * be written. Absolute deadlines given to the kernel and the times of files are not shifted.
 */
#undef _FILE_OFFSET_BITS /* open and open64 have to remain two symbols */
#undef _TIME_BITS
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x52454c4159534849u

struct control {
    uint64_t magic;         /* the test writes it */
    int64_t wall_offset_ns; /* added to the wall clock */
    int32_t write_errno;    /* not 0: writes, allocations, growing truncations fail with it ... */
    uint32_t write_files;   /* ... on these: 1 "-wal", 2 "-shm", 4 "-journal", 8 all other files */
    int32_t sync_errno;     /* not 0: fsync and fdatasync fail with it (never on a directory) ... */
    uint32_t sync_files;    /* ... on these files */
    uint32_t grow_only;     /* 1: write_errno is only for what would extend the file: a full disk */
    uint32_t short_write;   /* 1: half of a failing write, in whole 512 bytes, is really written */
    uint64_t skip;          /* so many operations that should fail are let through; counts down */
    uint64_t faults;        /* failures injected so far */
    uint64_t records;       /* records in the log so far */
    uint64_t log_bytes;     /* bytes in the log so far */
    uint32_t sync_delay_us; /* pause before each fsync and fdatasync of a watched file */
    uint32_t fake_sync;     /* 1: record fsync and fdatasync, but do not do them */
    int64_t kill_at_record; /* > 0: SIGKILL to ourselves right after this record (the first is 1) */
} __attribute__((aligned(8)));

#define AT(field, offset) _Static_assert(offsetof(struct control, field) == (offset), #field)
AT(magic, 0); AT(wall_offset_ns, 8); AT(write_errno, 16); AT(write_files, 20);
AT(sync_errno, 24); AT(sync_files, 28); AT(grow_only, 32); AT(short_write, 36);
AT(skip, 40); AT(faults, 48); AT(records, 56); AT(log_bytes, 64);
AT(sync_delay_us, 72); AT(fake_sync, 76); AT(kill_at_record, 80);
#undef AT

enum kind { WRITE = 1, TRUNCATE, SYNC, OPEN, UNLINK, RENAME, SYNC_DIR, ALLOCATE };

struct header {
    uint32_t kind, file;
    uint64_t offset, length;
};
_Static_assert(sizeof(struct header) == 24, "no padding in a record");

struct file {
    char *path; /* below the watched directory; NULL once nothing has this path any more */
    dev_t dev;
    ino_t ino;
    uint32_t class; /* the bit of write_files and sync_files */
};

#define NO_FILE UINT32_MAX
#define MAX_FDS 65536
#define FD_DIRECTORY UINT32_MAX

static struct control *control; /* NULL until the constructor is done: every hook falls through */
static char watch[PATH_MAX];    /* without symbolic links */
static int log_fd = -1;
static pid_t owner; /* the process that the tables belong to */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct file *files; /* by id; under the mutex */
static uint32_t file_count, file_room;
static uint32_t fds[MAX_FDS]; /* 0 not watched, FD_DIRECTORY, or id + 1; atomic */

#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)

/* The next definition of a function after ours; looked up at first use, which can be before the
 * constructor has run. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static void *real_;                                                                        \
        (__typeof__(&name))look_up(&real_, #name);                                                 \
    })

/* A second name for a hook: off64_t is off_t on these machines. */
#define ALSO(name, second) extern __typeof__(name) second __attribute__((alias(#name)))

static __attribute__((noreturn)) void die(int status, const char *what) {
    dprintf(2, "shim: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    _exit(status);
}

static void *look_up(void **slot, const char *name) {
    void *found = LOAD(*slot);
    if (!found) {
        if (!(found = dlsym(RTLD_NEXT, name))) die(98, name);
        __atomic_store_n(slot, found, __ATOMIC_RELEASE);
    }
    return found;
}

static void lock(void) { pthread_mutex_lock(&mutex); }

/* For the end of a hook: the caller is to see the errno of its operation, not one of ours. */
static void unlock(int error) {
    pthread_mutex_unlock(&mutex);
    errno = error;
}

/* ---- the log; all of it under the mutex ---- */

static void log_write(const void *bytes, size_t length) {
    while (length > 0) {
        ssize_t n = REAL(write)(log_fd, bytes, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) die(98, "cannot write the log");
        bytes = (const char *)bytes + n;
        length -= (size_t)n;
    }
}

/* The payload is the first `length` bytes of `parts`. */
static void record(enum kind kind, uint32_t file, int64_t offset, const struct iovec *parts,
                   size_t length) {
    if (log_fd < 0) return;
    struct header header = {kind, file, (uint64_t)offset, length};
    log_write(&header, sizeof header);
    for (size_t left = length; left > 0; parts++) {
        size_t n = parts->iov_len < left ? parts->iov_len : left;
        log_write(parts->iov_base, n);
        left -= n;
    }
    __atomic_add_fetch(&control->log_bytes, sizeof header + length, __ATOMIC_ACQ_REL);
    uint64_t number = __atomic_add_fetch(&control->records, 1, __ATOMIC_ACQ_REL);
    int64_t last = LOAD(control->kill_at_record);
    if (last > 0 && number == (uint64_t)last) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

static void record_path(enum kind kind, uint32_t file, int64_t offset, const char *path) {
    struct iovec part = {(void *)path, strlen(path)};
    record(kind, file, offset, &part, part.iov_len);
}

/* ---- which files are watched ---- */

/* Whether `path` is `top` or below it: the rest of it, which is empty or starts with a slash. */
static const char *below(const char *path, const char *top) {
    size_t n = strlen(top);
    return strncmp(path, top, n) == 0 && (path[n] == '/' || path[n] == 0) ? path + n : NULL;
}

/* The path relative to the watched directory ("" for itself), in `out`; NULL if outside of it. */
static const char *watched_path(int dir, const char *path, char out[PATH_MAX]) {
    char parent[PATH_MAX], prefix[40] = "";
    int error = errno;
    if (!LOAD(control) || !watch[0] || !path || !*path) return NULL;
    if (*path != '/' && dir != AT_FDCWD) snprintf(prefix, sizeof prefix, "/proc/self/fd/%d/", dir);
    const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
    if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0) last += strlen(last);
    int parent_length = (int)(*last ? last - path : (ptrdiff_t)strlen(path));
    int n = snprintf(parent, PATH_MAX, "%s%.*s", prefix, parent_length, path);
    bool found = n < PATH_MAX && realpath(n > 0 ? parent : ".", out);
    errno = error;
    if (!found || strlen(out) + strlen(last) + 2 > PATH_MAX) return NULL;
    if (*last) strcat(strcat(out, out[1] ? "/" : ""), last); /* the root ends in a slash already */
    const char *rest = below(out, watch);
    return rest ? rest + (*rest == '/') : NULL;
}

static uint32_t class_of(const char *path) {
    static const char *const endings[] = {"-wal", "-shm", "-journal"};
    size_t n = strlen(path);
    for (uint32_t i = 0; i < 3; i++) {
        size_t m = strlen(endings[i]);
        if (n >= m && strcmp(path + n - m, endings[i]) == 0) return 1u << i;
    }
    return 8;
}

static void set_path(struct file *file, const char *path, const char *rest) {
    char *old = file->path;
    file->path = NULL;
    if (path && asprintf(&file->path, "%s%s", path, rest) < 0) die(98, "out of memory");
    if (path) file->class = class_of(file->path);
    free(old);
}

static uint32_t find_file(const char *path) {
    for (uint32_t id = 0; id < file_count; id++) {
        if (files[id].path && strcmp(files[id].path, path) == 0) return id;
    }
    return NO_FILE;
}

/* The id of the file now open at `path`. One that was replaced behind our back gets a new id. */
static uint32_t file_id(const char *path, const struct stat *st) {
    uint32_t id = find_file(path);
    if (id != NO_FILE) {
        if (files[id].dev == st->st_dev && files[id].ino == st->st_ino) return id;
        set_path(&files[id], NULL, NULL);
    }
    if (file_count == file_room) {
        file_room = file_room ? 2 * file_room : 64;
        if (!(files = realloc(files, file_room * sizeof *files))) die(98, "out of memory");
    }
    files[file_count] = (struct file){NULL, st->st_dev, st->st_ino, 0};
    set_path(&files[file_count], path, "");
    return file_count++;
}

static uint32_t fd_entry(int fd) { return fd >= 0 && fd < MAX_FDS ? LOAD(fds[fd]) : 0; }

/* A child of vfork() shares our memory but not our descriptors, so it leaves the table alone. */
static void set_fd(int fd, uint32_t entry) {
    if (fd_entry(fd) == entry || getpid() != owner) return;
    if (fd >= MAX_FDS) die(98, "a watched file has too high a descriptor");
    __atomic_store_n(&fds[fd], entry, __ATOMIC_RELEASE);
}

/* The watched file behind `fd`, and its state; under the mutex. A descriptor closed inside libc may
 * by now be something else, hence the look at the inode. Nothing here may open and close the file:
 * that would drop the POSIX locks that the process holds on it. */
static struct file *watched_file(int fd, struct stat *st) {
    uint32_t entry = fd_entry(fd);
    if (entry == 0 || entry == FD_DIRECTORY) return NULL;
    struct file *file = &files[entry - 1];
    if (fstat(fd, st) == 0 && st->st_dev == file->dev && st->st_ino == file->ino) return file;
    set_fd(fd, 0);
    return NULL;
}

static uint32_t id_of(const struct file *file) { return (uint32_t)(file - files); }

/* ---- faults ---- */

/* The errno to fail with now, or 0. */
static int fault(int32_t *error, uint32_t *classes, const struct file *file) {
    int32_t chosen = LOAD(*error);
    if (chosen == 0 || !(LOAD(*classes) & file->class)) return 0;
    uint64_t skip = LOAD(control->skip);
    while (skip > 0) {
        if (__atomic_compare_exchange_n(&control->skip, &skip, skip - 1, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            return 0;
        }
    }
    __atomic_add_fetch(&control->faults, 1, __ATOMIC_ACQ_REL);
    return chosen;
}

static int write_fault(const struct file *file, bool grows) {
    if (!grows && LOAD(control->grow_only)) return 0;
    return fault(&control->write_errno, &control->write_files, file);
}

/* ---- open and close ---- */

static int do_open(int dir, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    struct stat st;
    const char *name = watched_path(dir, path, buffer);
    if (!name || (flags & O_TMPFILE) == O_TMPFILE) {
        int fd = REAL(openat)(dir, path, flags, mode);
        if (fd >= 0) set_fd(fd, 0);
        return fd;
    }
    lock();
    bool existed = fstatat(dir, path, &st, 0) == 0;
    int fd = REAL(openat)(dir, path, flags, mode);
    int error = errno;
    if (fd >= 0) {
        if (fstat(fd, &st) != 0) st.st_mode = 0;
        if (S_ISREG(st.st_mode) && !(flags & O_PATH)) {
            uint32_t id = file_id(name, &st);
            set_fd(fd, id + 1);
            record_path(OPEN, id, !existed || (flags & O_TRUNC), name);
        } else {
            set_fd(fd, S_ISDIR(st.st_mode) ? FD_DIRECTORY : 0);
        }
    }
    unlock(error);
    return fd;
}

#define OPEN_HOOK(dir)                                                                             \
    va_list arguments;                                                                             \
    va_start(arguments, flags);                                                                    \
    bool creates = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;                            \
    mode_t mode = creates ? va_arg(arguments, mode_t) : 0;                                         \
    va_end(arguments);                                                                             \
    return do_open(dir, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_HOOK(AT_FDCWD); }
int openat(int dir, const char *path, int flags, ...) { OPEN_HOOK(dir); }
int creat(const char *path, mode_t mode) {
    return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
ALSO(open, open64);
ALSO(openat, openat64);
ALSO(creat, creat64);

int close(int fd) {
    if (fd >= 0 && fd == log_fd) { /* a program that closes whatever it did not open */
        errno = EBADF;
        return -1;
    }
    set_fd(fd, 0); /* first: afterwards the number may already be another thread's */
    return REAL(close)(fd);
}

static int copied(int from, int to) {
    if (to >= 0 && to != from) set_fd(to, fd_entry(from));
    return to;
}

int dup(int fd) { return copied(fd, REAL(dup)(fd)); }
int dup2(int fd, int to) { return copied(fd, REAL(dup2)(fd, to)); }
int dup3(int fd, int to, int flags) { return copied(fd, REAL(dup3)(fd, to, flags)); }

/* This is how Rust duplicates a file. The argument, if there is one, is an int or a pointer: both
 * pass unharmed as a pointer, with the calling conventions of x86_64 and aarch64. */
int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int result = REAL(fcntl)(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}
ALSO(fcntl, fcntl64);

/* ---- writes ---- */

/* For a watched descriptor: all writes are a pwritev2(), in which -1 means the file's position. */
static ssize_t do_write(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    struct stat st;
    lock();
    struct file *file = watched_file(fd, &st);
    if (!file || count < 0 || count > IOV_MAX) {
        unlock(errno);
        return REAL(pwritev2)(fd, parts, count, at, flags);
    }
    /* Linux appends even a pwrite(), if the file was opened so. */
    bool append = flags & RWF_APPEND || REAL(fcntl)(fd, F_GETFL) & O_APPEND;
    off_t start = append ? st.st_size : at >= 0 ? at : lseek(fd, 0, SEEK_CUR);
    size_t total = 0;
    for (int i = 0; i < count; i++) total += parts[i].iov_len;

    ssize_t n = -1;
    int error = write_fault(file, start + (off_t)total > st.st_size);
    if (error == 0) {
        n = REAL(pwritev2)(fd, parts, count, at, flags);
        error = errno;
        if (n > 0) record(WRITE, id_of(file), start, parts, (size_t)n);
    } else if (LOAD(control->short_write)) {
        /* With a position given, so that the file's own does not move: the call has failed. */
        size_t half = total / 2 / 512 * 512, done = 0;
        for (int i = 0; done < half; i++) {
            size_t want = parts[i].iov_len < half - done ? parts[i].iov_len : half - done;
            ssize_t m = REAL(pwrite)(fd, parts[i].iov_base, want, start + (off_t)done);
            if (m > 0) done += (size_t)m;
            if (m != (ssize_t)want) break;
        }
        if (done > 0) record(WRITE, id_of(file), start, parts, done);
    }
    unlock(error);
    return n;
}

/* Anything else is the real function's: it may block; a negative offset is its error to give. */
#define WRITE_HOOK(name, valid, parts, count, at, flags, ...)                                      \
    return fd_entry(fd) && (valid) ? do_write(fd, parts, count, at, flags) : REAL(name)(__VA_ARGS__)
#define ONE_PART (&(struct iovec){(void *)bytes, length})

ssize_t write(int fd, const void *bytes, size_t length) {
    WRITE_HOOK(write, true, ONE_PART, 1, -1, 0, fd, bytes, length);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    WRITE_HOOK(pwrite, at >= 0, ONE_PART, 1, at, 0, fd, bytes, length, at);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    WRITE_HOOK(writev, true, parts, count, -1, 0, fd, parts, count);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    WRITE_HOOK(pwritev, at >= 0, parts, count, at, 0, fd, parts, count, at);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    WRITE_HOOK(pwritev2, at >= -1, parts, count, at, flags, fd, parts, count, at, flags);
}
ALSO(pwrite, pwrite64);
ALSO(pwritev, pwritev64);
ALSO(pwritev2, pwritev64v2);

/* ---- sizes ---- */

int ftruncate(int fd, off_t size) {
    struct stat st;
    if (!fd_entry(fd)) return REAL(ftruncate)(fd, size);
    lock();
    struct file *file = watched_file(fd, &st);
    int error = file && size > st.st_size ? write_fault(file, true) : 0;
    int result = -1;
    if (error == 0) {
        result = REAL(ftruncate)(fd, size);
        error = errno;
        if (file && result == 0) record(TRUNCATE, id_of(file), size, NULL, 0);
    }
    unlock(error);
    return result;
}
ALSO(ftruncate, ftruncate64);

/* Returns the error number; fallocate() if not `posix`. */
static int do_allocate(int fd, int mode, off_t at, off_t length, bool posix) {
    struct stat st;
    lock();
    struct file *file = watched_file(fd, &st);
    off_t end = at >= 0 && length > 0 && length <= INT64_MAX - at ? at + length : 0;
    int error = file ? write_fault(file, end > st.st_size) : 0;
    if (error == 0) {
        if (posix) error = REAL(posix_fallocate)(fd, at, length);
        else error = REAL(fallocate)(fd, mode, at, length) == 0 ? 0 : errno;
        if (file && error == 0 && log_fd >= 0) {
            if (mode & ~FALLOC_FL_KEEP_SIZE) die(98, "cannot record this mode of fallocate");
            if (mode == 0 && end > st.st_size) record(ALLOCATE, id_of(file), end, NULL, 0);
        }
    }
    unlock(errno);
    return error;
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    if (!fd_entry(fd)) return REAL(fallocate)(fd, mode, at, length);
    int error = do_allocate(fd, mode, at, length, false);
    return error ? (errno = error, -1) : 0;
}
int posix_fallocate(int fd, off_t at, off_t length) {
    return fd_entry(fd) ? do_allocate(fd, 0, at, length, true)
                        : REAL(posix_fallocate)(fd, at, length);
}
ALSO(fallocate, fallocate64);
ALSO(posix_fallocate, posix_fallocate64);

/* ---- syncs ---- */

static int do_sync(int fd, int (*real)(int)) {
    struct stat st;
    uint32_t entry = fd_entry(fd);
    if (!entry) return real(fd);
    uint32_t delay = entry == FD_DIRECTORY ? 0 : LOAD(control->sync_delay_us);
    if (delay > 0) { /* outside the mutex: other threads may write while the disk is slow */
        struct timespec left = {delay / 1000000, delay % 1000000 * 1000};
        while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
    }
    lock();
    struct file *file = watched_file(fd, &st);
    bool directory = entry == FD_DIRECTORY && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    int error = file ? fault(&control->sync_errno, &control->sync_files, file) : 0;
    int result = -1;
    if (error == 0) {
        result = (file || directory) && LOAD(control->fake_sync) ? 0 : real(fd);
        error = errno;
        if (file && result == 0) record(SYNC, id_of(file), 0, NULL, 0);
        if (directory && result == 0) record(SYNC_DIR, NO_FILE, 0, NULL, 0);
    }
    unlock(error);
    return result;
}

int fsync(int fd) { return do_sync(fd, REAL(fsync)); }
int fdatasync(int fd) { return do_sync(fd, REAL(fdatasync)); }

/* ---- names ---- */

int unlinkat(int dir, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *name = flags & AT_REMOVEDIR ? NULL : watched_path(dir, path, buffer);
    if (!name) return REAL(unlinkat)(dir, path, flags);
    lock();
    int result = REAL(unlinkat)(dir, path, flags);
    int error = errno;
    if (result == 0) {
        uint32_t id = find_file(name);
        if (id != NO_FILE) set_path(&files[id], NULL, NULL);
        record_path(UNLINK, id, 0, name);
    }
    unlock(error);
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

static int do_rename(int dir, const char *path, int new_dir, const char *new_path, unsigned flags) {
    char buffer[PATH_MAX], new_buffer[PATH_MAX];
    const char *from = watched_path(dir, path, buffer);
    const char *to = watched_path(new_dir, new_path, new_buffer);
    if (from || to) lock();
    int result = flags ? REAL(renameat2)(dir, path, new_dir, new_path, flags)
                       : REAL(renameat)(dir, path, new_dir, new_path);
    if (!from && !to) return result;
    int error = errno;
    if (result == 0 && log_fd >= 0 && (!from || flags & ~RENAME_NOREPLACE)) {
        die(98, "cannot record this rename");
    }
    if (result == 0 && !(from && to && strcmp(from, to) == 0)) {
        uint32_t moved = from ? find_file(from) : NO_FILE;
        for (uint32_t id = 0; id < file_count; id++) {
            if (!files[id].path) continue;
            const char *rest = from ? below(files[id].path, from) : NULL;
            if ((to && below(files[id].path, to)) || (rest && !to)) {
                set_path(&files[id], NULL, NULL);
            } else if (rest) {
                set_path(&files[id], to, rest);
            }
        }
        if (from && to) {
            struct iovec parts[] = {{(void *)from, strlen(from) + 1}, {(void *)to, strlen(to)}};
            record(RENAME, moved, 0, parts, parts[0].iov_len + parts[1].iov_len);
        } else if (from) {
            record_path(UNLINK, moved, 0, from); /* it has left the directory */
        }
    }
    unlock(error);
    return result;
}

int rename(const char *path, const char *to) { return do_rename(AT_FDCWD, path, AT_FDCWD, to, 0); }
int renameat(int dir, const char *path, int to_dir, const char *to) {
    return do_rename(dir, path, to_dir, to, 0);
}
int renameat2(int dir, const char *path, int to_dir, const char *to, unsigned flags) {
    return do_rename(dir, path, to_dir, to, flags);
}

/* ---- the wall clock ---- */

static int64_t wall_offset(void) {
    struct control *page = LOAD(control);
    return page ? LOAD(page->wall_offset_ns) : 0;
}

static void shift(struct timespec *t, int64_t offset) {
    t->tv_sec += offset / 1000000000;
    t->tv_nsec += offset % 1000000000;
    if (t->tv_nsec < 0) t->tv_nsec += 1000000000, t->tv_sec--;
    if (t->tv_nsec >= 1000000000) t->tv_nsec -= 1000000000, t->tv_sec++;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    int result = REAL(clock_gettime)(clock, t);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        shift(t, wall_offset());
    }
    return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec now;
    if (wall_offset() == 0) return REAL(gettimeofday)(t, zone);
    clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *t) {
    struct timespec now;
    if (wall_offset() == 0) return REAL(time)(t);
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}

/* ---- start ---- */

static void after_fork_in_child(void) {
    log_fd = -1; /* one process to a log */
    owner = getpid();
    pthread_mutex_unlock(&mutex);
}

static void after_fork(void) { pthread_mutex_unlock(&mutex); }

static __attribute__((constructor)) void start(void) {
    const char *page = getenv("RELAY_SHIM_CONTROL"), *directory = getenv("RELAY_SHIM_WATCH");
    const char *log = getenv("RELAY_SHIM_LOG"), *logger = getenv("RELAY_SHIM_LOGGER");
    char self[16];
    struct stat st;
    if (!page) return;
    int fd = REAL(openat)(AT_FDCWD, page, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) die(99, "cannot open the control page");
    if (st.st_size < 4096) die(99, "the control page is too short");
    struct control *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) die(99, "cannot map the control page");
    REAL(close)(fd);
    if (LOAD(mapped->magic) != MAGIC) die(99, "wrong magic number in the control page");
    if (directory) {
        if (*directory != '/' || strlen(directory) >= PATH_MAX) die(99, "bad RELAY_SHIM_WATCH");
        if (!realpath(directory, watch)) strcpy(watch, directory); /* it may come later */
    }
    /* A program started by the one that records finds the mark of that one, and does not record. */
    snprintf(self, sizeof self, "%d", (int)getpid());
    if (log && (!logger || strcmp(logger, self) == 0)) {
        fd = REAL(openat)(AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) die(99, "cannot open the log");
        /* Out of the way of the low numbers, which programs expect to get in order. */
        log_fd = REAL(fcntl)(fd, F_DUPFD_CLOEXEC, 512);
        if (log_fd < 0) log_fd = fd;
        else REAL(close)(fd);
        setenv("RELAY_SHIM_LOGGER", self, 1);
    }
    owner = getpid();
    pthread_atfork(lock, after_fork, after_fork_in_child);
    __atomic_store_n(&control, mapped, __ATOMIC_RELEASE);
}
