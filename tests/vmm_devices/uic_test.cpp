// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/uic.h"

#include <catch2/catch_test_macros.hpp>

#include "vmm/devices/board_map.h"

using namespace untrap::vmm;

namespace {

constexpr std::uint32_t base = 0x0c0;
enum : std::uint32_t { sr = base, srs, er, cr, pr, tr, msr, vr, vcr };

struct Rig {
    bool external = false, critical = false;
    Uic uic;
    explicit Rig(std::uint32_t idle_high = 0)
        : uic(base, idle_high, IrqLine([this](bool on) { external = on; }),
              IrqLine([this](bool on) { critical = on; })) {}
};

constexpr std::uint32_t bit(unsigned input) { return Uic::mask_of(input); }

} // namespace

TEST_CASE("UIC level input: latched, cleared only when inactive") {
    Rig rig;
    rig.uic.write(er, bit(3));
    rig.uic.set_input(3, true);
    CHECK(rig.external);
    CHECK(rig.uic.read(msr) == bit(3));
    rig.uic.write(sr, bit(3));
    CHECK(rig.uic.read(sr) == bit(3));
    CHECK(rig.external);
    rig.uic.set_input(3, false);
    CHECK(rig.uic.read(sr) == bit(3));
    CHECK(rig.external);
    rig.uic.write(sr, bit(4));
    CHECK(rig.external);
    rig.uic.write(sr, bit(3));
    CHECK(rig.uic.read(sr) == 0);
    CHECK_FALSE(rig.external);
}

TEST_CASE("UIC edge input: one latch per edge, whatever the level") {
    Rig rig;
    rig.uic.write(tr, bit(5));
    rig.uic.write(er, bit(5));
    rig.uic.set_input(5, true);
    CHECK(rig.external);
    rig.uic.write(sr, bit(5));
    CHECK_FALSE(rig.external);
    CHECK(rig.uic.read(sr) == 0);
    rig.uic.set_input(5, false);
    CHECK_FALSE(rig.external);
    rig.uic.set_input(5, true);
    CHECK(rig.external);
    rig.uic.set_input(5, false);
    CHECK(rig.external);
    SECTION("a falling edge when PR says so") {
        rig.uic.write(pr, rig.uic.read(pr) & ~bit(5));
        rig.uic.write(sr, bit(5));
        CHECK_FALSE(rig.external);
        rig.uic.set_input(5, true);
        CHECK_FALSE(rig.external);
        rig.uic.set_input(5, false);
        CHECK(rig.external);
    }
}

TEST_CASE("UIC polarity: pulled-up inputs are idle at reset and work active low") {
    Rig rig(board::uic0_idle_high);
    CHECK(rig.uic.read(sr) == 0);
    CHECK(rig.uic.read(pr) == ~board::uic0_idle_high);
    rig.uic.write(er, 0xffffffff);
    CHECK_FALSE(rig.external);
    rig.uic.set_input(28, true);
    CHECK(rig.external);
    rig.uic.set_input(28, false);
    rig.uic.write(sr, bit(28));
    CHECK_FALSE(rig.external);
    // An active-high input told to be active low is active while idle.
    rig.uic.write(pr, rig.uic.read(pr) & ~bit(2));
    CHECK(rig.uic.read(sr) == bit(2));
    CHECK(rig.external);
}

TEST_CASE("UIC outputs follow enable and critical registers") {
    Rig rig;
    rig.uic.set_input(7, true);
    CHECK_FALSE(rig.external);
    CHECK(rig.uic.read(sr) == bit(7));
    CHECK(rig.uic.read(msr) == 0);
    rig.uic.write(er, bit(7));
    CHECK(rig.external);
    rig.uic.write(cr, bit(7));
    CHECK_FALSE(rig.external);
    CHECK(rig.critical);
    rig.uic.write(er, 0);
    CHECK_FALSE(rig.critical);
    rig.uic.write(srs, bit(9));
    CHECK(rig.uic.read(sr) == (bit(7) | bit(9)));
    rig.uic.write(msr, 0);
    rig.uic.write(vr, 5);
    CHECK(rig.uic.read(sr) == (bit(7) | bit(9)));
    rig.uic.reset();
    CHECK(rig.uic.read(er) == 0);
    CHECK(rig.uic.read(sr) == bit(7));
}

TEST_CASE("UIC vector register: highest critical input by the order bit") {
    Rig rig;
    rig.uic.write(vcr, 0x12340003);
    CHECK(rig.uic.read(vcr) == 0x12340001);
    CHECK(rig.uic.read(vr) == 0);
    rig.uic.write(er, 0xffffffff);
    rig.uic.set_input(4, true);
    CHECK(rig.uic.read(vr) == 0); // not critical
    rig.uic.write(cr, bit(4) | bit(30));
    rig.uic.set_input(30, true);
    CHECK(rig.uic.read(vr) == 0x12340000 + 4 * 512);
    rig.uic.write(vcr, 0x12340000);
    CHECK(rig.uic.read(vr) == 0x12340000 + 1 * 512);
}

TEST_CASE("UIC1 cascades into UIC0 as the kernel's handler expects") {
    Rig rig;
    Uic uic1(0x0d0, 0, rig.uic.input_line(board::uic0_input_uic1_noncritical),
             rig.uic.input_line(board::uic0_input_uic1_critical));
    const std::uint32_t cascade = bit(30), critical_cascade = bit(31);
    rig.uic.write(er, cascade);
    uic1.write(0x0d2, bit(8));
    IrqLine device = uic1.input_line(8);
    device.raise();
    CHECK(rig.external);
    CHECK(rig.uic.read(msr) == cascade);
    CHECK(uic1.read(0x0d6) == bit(8));

    // The flow of a level interrupt: mask both, serve, acknowledge and unmask inside out.
    rig.uic.write(er, 0);
    uic1.write(0x0d2, 0);
    device.lower();
    uic1.write(0x0d0, bit(8));
    uic1.write(0x0d2, bit(8));
    rig.uic.write(sr, cascade);
    rig.uic.write(er, cascade);
    CHECK_FALSE(rig.external);
    CHECK(rig.uic.read(sr) == 0);

    uic1.write(0x0d3, bit(8));
    rig.uic.write(er, cascade | critical_cascade);
    rig.uic.write(cr, critical_cascade);
    device.raise();
    CHECK(rig.critical);
    CHECK_FALSE(rig.external);
}
