// SPDX-License-Identifier: GPL-2.0-only
// One executable holds all guest programs and is installed under each one's name: the initrd stays small, and with it
// the time a guest needs to unpack it. The build compiles each program with main renamed to NAME_main and passes the
// list as PROGRAMS, in the form PROGRAM(NAME) PROGRAM(NAME)...
#include <stdio.h>
#include <string.h>

#define PROGRAM(name) int name##_main(int argc, char** argv);
PROGRAMS
#undef PROGRAM

static const struct {
    const char* name;
    int (*run)(int argc, char** argv);
} programs[] = {
#define PROGRAM(name) {#name, name##_main},
    PROGRAMS
#undef PROGRAM
};

int main(int argc, char** argv) {
    const char* slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char* name = argc == 0 ? "" : slash ? slash + 1 : argv[0];
    for (size_t i = 0; i < sizeof programs / sizeof *programs; ++i)
        if (strcmp(name, programs[i].name) == 0) return programs[i].run(argc, argv);
    fprintf(stderr, "programs: no program '%s'\n", name);
    return 2;
}
