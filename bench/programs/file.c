// SPDX-License-Identifier: GPL-2.0-only
// Files: an operation writes a file of 64 KB, brings it to the disk, forgets the cached pages, reads it back, compares,
// and removes it. PLACE is a directory, or a disk with an ext4 file system, which is mounted for the time.
#include "bench/programs/load.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { size = 65536 };

static uint8_t written[size], back[size];

static void stop(const char* what) {
    perror(what);
    exit(1);
}

static void move_all(ssize_t (*move)(int, void*, size_t), int file, uint8_t* bytes, const char* what) {
    for (size_t done = 0; done < size;) {
        const ssize_t now = move(file, bytes + done, size - done);
        if (now <= 0) stop(what);
        done += (size_t)now;
    }
}

static ssize_t write_some(int file, void* bytes, size_t length) { return write(file, bytes, length); }

int main(int argc, char** argv) {
    struct stat kind;
    if (argc != 3 || stat(argv[1], &kind) != 0) {
        fprintf(stderr, "usage: file PLACE COUNT\n");
        return 2;
    }
    const uint32_t count = operation_count(2, (char*[]){argv[0], argv[2], NULL});
    const int disk = S_ISBLK(kind.st_mode);
    if (disk && mount(argv[1], "/mnt", "ext4", MS_NOATIME, NULL) != 0) stop("file: mount");
    if (chdir(disk ? "/mnt" : argv[1]) != 0) stop("file: chdir");
    for (int i = 0; i < size; ++i) written[i] = (uint8_t)random_word();
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        written[random_word() % size] ^= (uint8_t)random_word();
        const int file = open("load", O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (file < 0) stop("file: open");
        move_all(write_some, file, written, "file: write");
        if (fsync(file) != 0) stop("file: fsync");
        if (posix_fadvise(file, 0, size, POSIX_FADV_DONTNEED) != 0 || lseek(file, 0, SEEK_SET) != 0) stop("file: seek");
        memset(back, 0, sizeof back);
        move_all(read, file, back, "file: read");
        if (memcmp(written, back, size) != 0) {
            fprintf(stderr, "file: operation %u does not come back as it was\n", (unsigned)n);
            return 1;
        }
        if (close(file) != 0 || unlink("load") != 0) stop("file: unlink");
    }
    const uint64_t taken = nanoseconds_now() - started;
    checksum_bytes(back, size);
    if (chdir("/") != 0 || (disk && umount("/mnt") != 0)) stop("file: umount");
    load_report("file", count, taken);
    return 0;
}
