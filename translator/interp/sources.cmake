# SPDX-License-Identifier: GPL-2.0-only
# Core code (untrap_core_flags). Needs translator/isa and translator/fp.
set(UNTRAP_INTERP_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/branch.cpp
    ${CMAKE_CURRENT_LIST_DIR}/fp.cpp
    ${CMAKE_CURRENT_LIST_DIR}/integer.cpp
    ${CMAKE_CURRENT_LIST_DIR}/interpreter.cpp
    ${CMAKE_CURRENT_LIST_DIR}/mac.cpp
    ${CMAKE_CURRENT_LIST_DIR}/memory.cpp
    ${CMAKE_CURRENT_LIST_DIR}/special.cpp)
