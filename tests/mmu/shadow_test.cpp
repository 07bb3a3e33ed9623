// SPDX-License-Identifier: GPL-2.0-only
#include <catch2/catch_test_macros.hpp>

#include "mmu/page_guard.h"
#include "mmu/shadow_pids.h"

using namespace untrap::mmu;

TEST_CASE("a context keeps its shadow PID while others come and go") {
    ShadowPids<4> pids;
    const auto first = pids.assign(10);
    CHECK(first.fresh);
    const auto again = pids.assign(10);
    CHECK_FALSE(again.fresh);
    CHECK(again.pid == first.pid);
    for (std::uint32_t key : {11U, 12U, 13U}) CHECK(pids.assign(key).pid != first.pid);
    CHECK_FALSE(pids.assign(10).fresh);
}

TEST_CASE("the context unused longest gives up its shadow PID") {
    ShadowPids<2> pids;
    const auto a = pids.assign(1);
    pids.assign(2);
    pids.assign(1);
    const auto c = pids.assign(3);
    CHECK(c.fresh);
    CHECK(c.pid != a.pid);
    CHECK_FALSE(pids.assign(1).fresh);
    CHECK(pids.assign(2).fresh);
}

TEST_CASE("page guards see stores that meet a guarded granule, and only those") {
    PageGuard guard;
    CHECK(guard.empty());
    guard.guard(130, 4); // granule 2: bytes 128-191
    CHECK(guard.hit(128, 1));
    CHECK(guard.hit(191, 1));
    CHECK(guard.hit(120, 9));
    CHECK(guard.hit(0, 4096));
    CHECK_FALSE(guard.hit(0, 128));
    CHECK_FALSE(guard.hit(192, 4096 - 192));
    guard.guard(4092, 4);
    CHECK(guard.hit(4095, 1));
    guard.clear();
    CHECK_FALSE(guard.hit(0, 4096));
}
