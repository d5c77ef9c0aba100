/* SPDX-License-Identifier: Apache-2.0 */
#include <tutti/tutti.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

const char *tutti_version(void) { return TEXT(TUTTI_VERSION_MAJOR) "." TEXT(TUTTI_VERSION_MINOR) "." TEXT(TUTTI_VERSION_PATCH); }
