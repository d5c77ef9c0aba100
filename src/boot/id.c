/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unique id: an address, a key, and a check against mangling (not against forgery: who has the id has the key).
 *
 *      magic 8 | version 4 | address 24 | key 32 | zeros 28 | check 32
 *
 * Its listening socket waits in a table of this process until boot_from_id with the same id takes it. The table is the
 * folder's only global.
 */
#include <boot/inner.h>
#include <netdb.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "tuttiid\n"
enum { VERSION = 1, AT_VERSION = 8, AT_PLACE = 12, AT_KEY = AT_PLACE + PLACE_BYTES, AT_ZERO = AT_KEY + AUTH_KEY_BYTES, CHECK = 32,
       AT_CHECK = TUTTI_UNIQUE_ID_BYTES - CHECK, WAITING = 64 };
_Static_assert(AT_ZERO <= AT_CHECK, "an id has room for all its parts");

static struct waiting { pid_t pid; int fd; unsigned char key[AUTH_KEY_BYTES]; } table[WAITING];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void check_make(unsigned char *check, const unsigned char *bytes)
{
	crypto_generichash(check, CHECK, bytes, AT_CHECK, NULL, 0);
}

int id_read(const unsigned char *bytes, struct place *place, unsigned char *key)
{
	unsigned char check[CHECK];

	if (memcmp(bytes, MAGIC, 8))
		return err_set(TUTTI_ERR_INVALID, "unique id: expected %d bytes made by tutti_get_unique_id, got others",
			TUTTI_UNIQUE_ID_BYTES);
	if (le_get(bytes + AT_VERSION, 4) != VERSION)
		return err_set(TUTTI_ERR_INVALID, "unique id: expected version %d, got %u", VERSION,
			(unsigned)le_get(bytes + AT_VERSION, 4));
	check_make(check, bytes);
	if (sodium_memcmp(check, bytes + AT_CHECK, CHECK))
		return err_set(TUTTI_ERR_INVALID, "unique id: some of its %d bytes were changed on the way", TUTTI_UNIQUE_ID_BYTES);
	if (place_get(place, bytes + AT_PLACE))
		return TUTTI_ERR_INVALID;
	memcpy(key, bytes + AT_KEY, AUTH_KEY_BYTES);
	return TUTTI_OK;
}

/* A forked child has a copy of the table, but the meeting is its parent's. */
static int table_put(int fd, const unsigned char *key)
{
	int rc = err_set(TUTTI_ERR_INVALID, "unique id: %d were made in this process and not used yet", WAITING);

	pthread_mutex_lock(&lock);
	for (int i = 0; rc && i < WAITING; i++)
		if (table[i].pid != getpid()) {
			table[i] = (struct waiting){ .pid = getpid(), .fd = fd };
			memcpy(table[i].key, key, AUTH_KEY_BYTES);
			rc = TUTTI_OK;
		}
	pthread_mutex_unlock(&lock);
	return rc;
}

static int table_take(const unsigned char *key)
{
	int fd = -1;

	pthread_mutex_lock(&lock);
	for (int i = 0; fd < 0 && i < WAITING; i++)
		if (table[i].pid == getpid() && !sodium_memcmp(table[i].key, key, AUTH_KEY_BYTES)) {
			fd = table[i].fd;
			table[i].pid = 0;
		}
	pthread_mutex_unlock(&lock);
	return fd;
}

int boot_make_id(struct tutti_unique_id *id)
{
	unsigned char *p = id->bytes;
	struct place at;
	socklen_t len = sizeof at.addr;
	char text[PLACE_TEXT];
	int fd = -1, rc = auth_init();

	if (!rc)
		rc = boot_local_address(&at.addr, &len, text, sizeof text);
	at.len = len;
	if (!rc)
		rc = place_listen(&at, &fd);
	if (!rc && !place_of_socket(&at, fd))
		rc = err_sys("getsockname");
	memset(p, 0, sizeof id->bytes);
	memcpy(p, MAGIC, 8);
	le_put(p + AT_VERSION, VERSION, 4);
	if (!rc)
		rc = auth_random(p + AT_KEY, AUTH_KEY_BYTES);
	if (!rc) {
		place_put(p + AT_PLACE, &at);
		check_make(p + AT_CHECK, p);
		rc = table_put(fd, p + AT_KEY);
	}
	if (rc && fd >= 0)
		close(fd);
	return rc;
}

int boot_from_id(struct boot_spec *spec, const struct tutti_unique_id *id, int nranks, int rank)
{
	struct place at;
	struct boot_spec s = { .rank = rank, .nranks = nranks, .local_rank = -1, .source = "unique id" };
	int rc = auth_init();

	if (!rc)
		rc = rank_check(nranks, rank);
	if (!rc)
		rc = id_read(id->bytes, &at, s.key.bytes);
	if (rc)
		return rc;
	s.port = place_port(&at);
	s.ports = 1;
	if (getnameinfo((struct sockaddr *)&at.addr, at.len, s.host, sizeof s.host, NULL, 0, NI_NUMERICHOST))
		return err_set(TUTTI_ERR_INVALID, "unique id: its address cannot be written as text");
	s.listen_fd = table_take(s.key.bytes);
	s.serves = s.listen_fd >= 0;
	*spec = s;
	return TUTTI_OK;
}
