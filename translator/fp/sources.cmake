# SPDX-License-Identifier: GPL-2.0-only
set(UNTRAP_FP_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/arithmetic.cpp
    ${CMAKE_CURRENT_LIST_DIR}/convert.cpp
    ${CMAKE_CURRENT_LIST_DIR}/divide.cpp
    ${CMAKE_CURRENT_LIST_DIR}/fpscr.cpp
    ${CMAKE_CURRENT_LIST_DIR}/round.cpp)
