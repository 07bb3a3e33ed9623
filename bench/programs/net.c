// SPDX-License-Identifier: GPL-2.0-only
// Network: an operation asks a server over TCP and gets 16 KB as the answer.
//   net INTERFACE ADDRESS PORT COUNT   INTERFACE gets the address that user networking expects, unless it is "lo"
//   net --serve                        serves on the loopback, prints its port, ends with its standard input
#include "bench/programs/load.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { size = 16384 };

static uint8_t bytes[size];

static void stop(const char* what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in address_of(const char* text, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
        fprintf(stderr, "net: no address '%s'\n", text);
        exit(2);
    }
    return address;
}

static void at_once(int connection) {
    const int on = 1;
    if (setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) stop("net: TCP_NODELAY");
}

static int receive(int connection, void* where, size_t length) {
    return recv(connection, where, length, MSG_WAITALL) == (ssize_t)length;
}

static void send_all(int connection, const void* from, size_t length) {
    for (const char *at = from, *end = at + length; at < end;) {
        const ssize_t sent = send(connection, at, (size_t)(end - at), MSG_NOSIGNAL);
        if (sent <= 0) stop("net: send");
        at += sent;
    }
}

static void fill(uint32_t seed) {
    for (int i = 0; i < size; i += 4) {
        seed = seed * 1664525u + 1013904223u;
        for (int k = 0; k < 4; ++k) bytes[i + k] = (uint8_t)(seed >> (24 - 8 * k));
    }
}

static int serve(void) {
    struct sockaddr_in address = address_of("127.0.0.1", 0);
    socklen_t length = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 4) != 0 ||
        getsockname(listener, (struct sockaddr*)&address, &length) != 0)
        stop("net: listen");
    printf("%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct pollfd ready[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
        if (poll(ready, 2, -1) < 0) stop("net: poll");
        if (ready[0].revents != 0) return 0;
        const int connection = accept(listener, NULL, NULL);
        if (connection < 0) stop("net: accept");
        at_once(connection);
        uint32_t seed;
        while (receive(connection, &seed, sizeof seed)) {
            fill(ntohl(seed));
            send_all(connection, bytes, size);
        }
        close(connection);
    }
}

static void set_up(const char* interface) {
    struct ifreq request = {0};
    struct sockaddr_in address = address_of("10.0.2.15", 0), mask = address_of("255.255.255.0", 0);
    const int any = socket(AF_INET, SOCK_DGRAM, 0);
    if (any < 0) stop("net: socket");
    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    memcpy(&request.ifr_addr, &address, sizeof address);
    if (ioctl(any, SIOCSIFADDR, &request) != 0) stop("net: SIOCSIFADDR");
    memcpy(&request.ifr_netmask, &mask, sizeof mask);
    if (ioctl(any, SIOCSIFNETMASK, &request) != 0) stop("net: SIOCSIFNETMASK");
    if (ioctl(any, SIOCGIFFLAGS, &request) != 0) stop("net: SIOCGIFFLAGS");
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (ioctl(any, SIOCSIFFLAGS, &request) != 0) stop("net: SIOCSIFFLAGS");
    close(any);
}

int main(int argc, char** argv) {
    if (argc == 2 && strcmp(argv[1], "--serve") == 0) return serve();
    const unsigned long port = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
    if (port == 0 || port > 65535) {
        fprintf(stderr, "usage: net INTERFACE ADDRESS PORT COUNT\n");
        return 2;
    }
    const uint32_t count = operation_count(2, (char*[]){argv[0], argv[4], NULL});
    const struct sockaddr_in server = address_of(argv[2], (uint16_t)port);
    if (strcmp(argv[1], "lo") != 0) set_up(argv[1]);
    const int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection < 0 || connect(connection, (const struct sockaddr*)&server, sizeof server) != 0)
        stop("net: connect");
    at_once(connection);
    const uint64_t started = nanoseconds_now();
    for (uint32_t n = 0; n < count; ++n) {
        const uint32_t seed = htonl(random_word());
        send_all(connection, &seed, sizeof seed);
        if (!receive(connection, bytes, size)) stop("net: receive");
        checksum_bytes(bytes + size - 16, 16);
    }
    load_report("net", count, nanoseconds_now() - started);
    return 0;
}
