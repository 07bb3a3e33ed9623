# SPDX-License-Identifier: GPL-2.0-only
set(UNTRAP_DEVICES_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/bus.cpp
    ${CMAKE_CURRENT_LIST_DIR}/dcr_blocks.cpp
    ${CMAKE_CURRENT_LIST_DIR}/diagnostics.cpp
    ${CMAKE_CURRENT_LIST_DIR}/power.cpp
    ${CMAKE_CURRENT_LIST_DIR}/uart16550.cpp
    ${CMAKE_CURRENT_LIST_DIR}/uic.cpp)
