// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

// SPR numbers of the 440 (user's manual, appendix on register numbers). Numbers with bit 0x10 set are privileged.
namespace untrap::isa::spr {

enum Number : std::uint16_t {
    xer = 1,
    lr = 8,
    ctr = 9,
    dec = 22,
    srr0 = 26,
    srr1 = 27,
    pid = 48,
    decar = 54,
    csrr0 = 58,
    csrr1 = 59,
    dear = 61,
    esr = 62,
    ivpr = 63,
    usprg0 = 256,
    sprg4_user = 260,
    sprg5_user = 261,
    sprg6_user = 262,
    sprg7_user = 263,
    tbl_read = 268,
    tbu_read = 269,
    sprg0 = 272,
    sprg1 = 273,
    sprg2 = 274,
    sprg3 = 275,
    sprg4 = 276,
    sprg5 = 277,
    sprg6 = 278,
    sprg7 = 279,
    tbl_write = 284,
    tbu_write = 285,
    pir = 286,
    pvr = 287,
    dbsr = 304,
    dbcr0 = 308,
    dbcr1 = 309,
    dbcr2 = 310,
    iac1 = 312,
    iac2 = 313,
    iac3 = 314,
    iac4 = 315,
    dac1 = 316,
    dac2 = 317,
    dvc1 = 318,
    dvc2 = 319,
    tsr = 336,
    tcr = 340,
    ivor0 = 400,
    ivor15 = 415,
    mcsrr0 = 570,
    mcsrr1 = 571,
    mcsr = 572,
    inv0 = 880,
    inv3 = 883,
    itv0 = 884,
    itv3 = 887,
    ccr1 = 888,
    dnv0 = 912,
    dnv3 = 915,
    dtv0 = 916,
    dtv3 = 919,
    dvlim = 920,
    ivlim = 921,
    rstcfg = 923,
    dcdbtrl = 924,
    dcdbtrh = 925,
    icdbtrl = 926,
    icdbtrh = 927,
    mmucr = 946,
    ccr0 = 947,
    icdbdr = 979,
    dbdr = 1011,
};

constexpr bool is_privileged(unsigned number) { return (number & 0x10) != 0; }

// Processor version of the 440EP rev. C, the core on the Bamboo board.
inline constexpr std::uint32_t pvr_440ep = 0x422218D4;

} // namespace untrap::isa::spr
