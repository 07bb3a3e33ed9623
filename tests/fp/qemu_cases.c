// SPDX-License-Identifier: GPL-2.0-only
// Runs seeded floating-point instructions on a PowerPC and prints, one line each, what went in and what came out, for
// fp_compare to judge. Usage: qemu_cases SEED COUNT
//
// A line: OP IMM WRITTEN BEFORE FRA FRB FRC FRT AFTER CR
// WRITTEN is the mtfsf operand, BEFORE the FPSCR it left, AFTER the FPSCR behind the instruction, CR field 0
// afterwards. FRT starts as old_target, so that a suppressed update shows.
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

static const uint64_t old_target = 0x123456789abcdef0;

typedef union {
    double value;
    uint64_t bits;
} Image;

typedef struct {
    uint64_t fra, frb, frc;
    uint32_t written;
    uint64_t before, frt, after;
    uint32_t cr;
} Case;

// Enabled exceptions arrive as signals; the instruction has done by then what it does.
static void skip_instruction(int signal_number, siginfo_t* info, void* context) {
    (void)signal_number;
    (void)info;
    ((ucontext_t*)context)->uc_mcontext.uc_regs->gregs[32] += 4;
}

// The compiler must not place anything of its own between mtfsf and the last mffs, hence one asm per instruction.
#define INSTRUCTION(name, text)                                                                                        \
    static void name(Case* c) {                                                                                        \
        Image frt, before, after;                                                                                      \
        const Image old = {.bits = old_target}, written = {.bits = c->written};                                        \
        const Image a = {.bits = c->fra}, b = {.bits = c->frb}, f = {.bits = c->frc};                                  \
        double t, x, y;                                                                                                \
        uint32_t cr;                                                                                                   \
        uint32_t scratch[2];                                                                                           \
        __asm__ volatile("mtfsf 255,%[written]\n\tmffs %[x]\n\tfmr %[t],%[old]\n\tmtcrf 0x80,%[zero]\n\t" text         \
                         "\n\tmffs %[y]\n\tmfcr %[cr]"                                                                 \
                         : [t] "=&d"(t), [x] "=&d"(x), [y] "=&d"(y), [cr] "=&r"(cr), "=m"(scratch)                     \
                         : [written] "d"(written.value), [old] "d"(old.value), [a] "d"(a.value), [b] "d"(b.value),     \
                           [c] "d"(f.value), [zero] "r"(0), [scratch] "b"(scratch)                                     \
                         : "cr0", "memory");                                                                           \
        frt.value = t;                                                                                                 \
        before.value = x;                                                                                              \
        after.value = y;                                                                                               \
        c->frt = frt.bits;                                                                                             \
        c->before = before.bits;                                                                                       \
        c->after = after.bits;                                                                                         \
        c->cr = cr >> 28;                                                                                              \
    }

// clang-format off
#define LIST_AB(X) X(fadd) X(fadds) X(fsub) X(fsubs) X(fdiv) X(fdivs)
#define LIST_AC(X) X(fmul) X(fmuls)
#define LIST_ACB(X) \
    X(fmadd) X(fmadds) X(fmsub) X(fmsubs) X(fnmadd) X(fnmadds) X(fnmsub) X(fnmsubs) X(fsel)
#define LIST_B(X) \
    X(fsqrt) X(fsqrts) X(fres) X(frsqrte) X(frsp) X(fctiw) X(fctiwz) X(fmr) X(fneg) X(fabs) X(fnabs)
#define LIST_COMPARE(X) X(fcmpu) X(fcmpo)
#define LIST_8(X, op) \
    X(op, 0) X(op, 1) X(op, 2) X(op, 3) X(op, 4) X(op, 5) X(op, 6) X(op, 7)
#define LIST_32(X, op) LIST_8(X, op) \
    X(op, 8) X(op, 9) X(op, 10) X(op, 11) X(op, 12) X(op, 13) X(op, 14) X(op, 15) \
    X(op, 16) X(op, 17) X(op, 18) X(op, 19) X(op, 20) X(op, 21) X(op, 22) X(op, 23) \
    X(op, 24) X(op, 25) X(op, 26) X(op, 27) X(op, 28) X(op, 29) X(op, 30) X(op, 31)
// Immediate forms: mtfsf's mask, mtfsfi's field * 16 + value.
#define LIST_MTFSF(X) \
    X(mtfsf, 0) X(mtfsf, 1) X(mtfsf, 2) X(mtfsf, 16) X(mtfsf, 64) X(mtfsf, 128) X(mtfsf, 170) X(mtfsf, 255)
#define LIST_MTFSFI(X) \
    X(mtfsfi, 0) X(mtfsfi, 6) X(mtfsfi, 9) X(mtfsfi, 15) X(mtfsfi, 16) X(mtfsfi, 31) X(mtfsfi, 37) X(mtfsfi, 79) \
    X(mtfsfi, 95) X(mtfsfi, 96) X(mtfsfi, 111) X(mtfsfi, 113) X(mtfsfi, 126)
// clang-format on

#define DEFINE_AB(op) INSTRUCTION(do_##op, #op " %[t],%[a],%[b]")
#define DEFINE_AC(op) INSTRUCTION(do_##op, #op " %[t],%[a],%[c]")
#define DEFINE_ACB(op) INSTRUCTION(do_##op, #op " %[t],%[a],%[c],%[b]")
#define DEFINE_B(op) INSTRUCTION(do_##op, #op " %[t],%[b]")
#define DEFINE_COMPARE(op) INSTRUCTION(do_##op, #op " 0,%[a],%[b]")
#define DEFINE_BIT(op, n) INSTRUCTION(do_##op##_##n, #op " " #n)
#define DEFINE_FIELD(op, n) INSTRUCTION(do_##op##_##n, #op " 0," #n)
#define DEFINE_MTFSF(op, n) INSTRUCTION(do_##op##_##n, #op " " #n ",%[b]")
#define DEFINE_MTFSFI(op, n) INSTRUCTION(do_##op##_##n, #op " " #n "/16," #n "%%16")

LIST_AB(DEFINE_AB)
LIST_AC(DEFINE_AC)
LIST_ACB(DEFINE_ACB)
LIST_B(DEFINE_B)
LIST_COMPARE(DEFINE_COMPARE)
LIST_32(DEFINE_BIT, mtfsb0)
LIST_32(DEFINE_BIT, mtfsb1)
LIST_8(DEFINE_FIELD, mcrfs)
LIST_MTFSF(DEFINE_MTFSF)
LIST_MTFSFI(DEFINE_MTFSFI)
// The single word moved is the upper half of frB going in, the upper half of frT coming out.
INSTRUCTION(do_lfs, "stfd %[b],0(%[scratch])\n\tlfs %[t],0(%[scratch])")
INSTRUCTION(do_stfs, "stfd %[old],0(%[scratch])\n\tstfs %[b],0(%[scratch])\n\tlfd %[t],0(%[scratch])")

typedef struct {
    const char* name;
    unsigned immediate;
    void (*run)(Case*);
} Operation;

#define ENTRY(op) {#op, 0, do_##op},
#define ENTRY_IMMEDIATE(op, n) {#op, n, do_##op##_##n},
static const Operation arithmetic[] = {LIST_AB(ENTRY) LIST_AC(ENTRY) LIST_ACB(ENTRY) LIST_B(ENTRY) LIST_COMPARE(ENTRY)
                                           ENTRY(lfs) ENTRY(stfs)};
static const Operation status[] = {LIST_32(ENTRY_IMMEDIATE, mtfsb0) LIST_32(ENTRY_IMMEDIATE, mtfsb1) LIST_8(
    ENTRY_IMMEDIATE, mcrfs) LIST_MTFSF(ENTRY_IMMEDIATE) LIST_MTFSFI(ENTRY_IMMEDIATE)};
#define COUNT_OF(array) (sizeof(array) / sizeof(array[0]))

static uint64_t random_state;

static uint64_t next_random(void) {
    random_state += 0x9e3779b97f4a7c15;
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint64_t random_operand(void) {
    static const uint64_t special[] = {
        0,
        0x3ff0000000000000, // 1
        0x4000000000000000, // 2
        0x4008000000000000, // 3
        0x3fe0000000000000, // 0.5
        0x7ff0000000000000, // infinity
        0x7ff8000000000000, // NaNs
        0x7ff4000012345678,
        0x7fffffffffffffff,
        0x7ff0000000000001,
        0x7ffc0000e0000000,
        0x0000000000000001, // denormals
        0x000fffffffffffff,
        0x0010000000000000, // least and greatest normal
        0x7fefffffffffffff,
        0x36a0000000000000, // single: least denormal, half of it, least normal and below, greatest and above
        0x3690000000000000,
        0x3810000000000000,
        0x380fffffc0000000,
        0x380fffffffffffff,
        0x47efffffe0000000,
        0x47efffffefffffff,
        0x47effffff0000000,
        0x47f0000000000000,
        0x41dfffffffc00000, // around the ends of int32
        0x41dfffffffe00000,
        0x41e0000000000000,
        0x41e0000000100000,
        0x41e0000000200000};
    const uint64_t r = next_random(), bits = next_random();
    const uint64_t sign = r & 0x8000000000000000;
    uint64_t image;
    switch (r % 8) {
    case 0:
    case 1: return special[(r >> 8) % COUNT_OF(special)] ^ sign;
    case 2: return bits;
    case 3: // near 1: cancellation, ties
        image = (0x3fc + (r >> 8) % 8) << 52 | (bits & 0x000fffffffffffff);
        break;
    case 4: // in reach of the single range, single fraction
        image = (0x340 + (r >> 8) % 0x180) << 52 | (bits & 0x000fffffe0000000);
        break;
    case 5: // the single range's edges
        image = ((r & 0x100 ? 0x368 : 0x478) + (r >> 16) % 32) << 52 | (bits & 0x000fffffffffffff);
        break;
    case 6: // few fraction bits, any exponent
        image = (bits & 0x7ff0000000000000) | (((r >> 8) & 0xff) << ((r >> 16) % 45));
        break;
    default: // integers about 32 bits long
        image = (0x3ff + (r >> 8) % 33) << 52 | (bits & (0x000fffffffffffff << ((r >> 16) % 52)) & 0x000fffffffffffff);
        break;
    }
    return image | sign;
}

static uint32_t random_fpscr(void) {
    const uint64_t r = next_random();
    uint32_t value = (uint32_t)(r >> 32) & 3;                        // RN
    if ((r & 3) == 0) value |= (uint32_t)(r >> 8) & 0xfc;            // enables, NI
    if ((r & 4) == 0) value |= (uint32_t)next_random() & 0xffffff00; // sticky and status
    return value;
}

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s SEED COUNT\n", argv[0]);
        return 2;
    }
    random_state = strtoull(argv[1], NULL, 0);
    const unsigned long count = strtoul(argv[2], NULL, 0);
    const struct sigaction action = {.sa_sigaction = skip_instruction, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGFPE, &action, NULL) != 0) return 1;
    for (unsigned long i = 0; i < count; ++i) {
        Case c = {0};
        c.written = random_fpscr();
        c.fra = random_operand();
        c.frb = random_operand();
        c.frc = random_operand();
        const uint64_t r = next_random();
        const Operation* operation =
            r % 8 ? &arithmetic[(r >> 8) % COUNT_OF(arithmetic)] : &status[(r >> 8) % COUNT_OF(status)];
        // Sums that nearly cancel are rare among independent operands.
        if (r % 16 == 1) c.frb = c.fra ^ (r & 0x8000000000000000) ^ ((r >> 32) & 7);
        operation->run(&c);
        printf("%s %u %08" PRIx32 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64
               " %016" PRIx64 " %" PRIx32 "\n",
               operation->name, operation->immediate, c.written, c.before, c.fra, c.frb, c.frc, c.frt, c.after, c.cr);
    }
    return 0;
}
