/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transports: one row each. Those with a module live in a shared object of their own, so that the library depends on none of their libraries; it is
 * loaded when the transport is first asked for, and stays.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <base/config.h>
#include <dlfcn.h>
#include <net/module.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct net_transport loop_transport, shm_transport, tcp_transport;

static struct row {
	const char *name;
	const struct net_transport *t;  /* a module's: once it is loaded */
	const char *module;
} rows[] = {
	{ "loop", &loop_transport, NULL },
	{ "shm", &shm_transport, NULL },
	{ "verbs", NULL, "tutti_verbs.so" },
	{ "ucx", NULL, "tutti_ucx.so" },
	{ "tcp", &tcp_transport, NULL },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

static bool filled(const struct net_transport *t)
{
	return t->name && t->help && t->probe && t->open && t->close && t->address && t->reaches && t->connect && t->letter && t->send && t->recv &&
	       t->advance && t->release && t->progress && t->arm && t->quiesce && t->describe;
}

/* ---- modules ------------------------------------------------------------------------------------------------------ */

/* The folder of the object that this code is in: where the modules of a build tree lie. */
static const char *own_folder(char *folder, size_t cap)
{
	Dl_info info;
	snprintf(folder, cap, "%s", dladdr(rows, &info) && info.dli_fname ? info.dli_fname : "");
	char *slash = strrchr(folder, '/');
	if (!slash)
		return NULL;            /* found by PATH: not the current one */
	*slash = 0;
	return folder;
}

/* Where it was installed, or in a build tree; TUTTI_MODULES alone when that is set. */
static void *open_module(const char *file)
{
	const struct config *c = config_get();
	char own[1024], path[1200];
	bool given = c && *c->modules;
	const char *beside = given ? NULL : own_folder(own, sizeof(own)), *folders[] = { given ? c->modules : MODULES, beside, beside };
	const char *in[] = { "", "", ".libs/" };
	for (int i = 0; i < 3 && folders[i]; i++) {
		snprintf(path, sizeof(path), "%s/%s%s", folders[i], in[i], file);
		if (access(path, F_OK))
			continue;
		void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (!so)
			err_set(TUTTI_ERR_UNSUPPORTED, "its module cannot be loaded: %s", dlerror());
		return so;
	}
	err_set(TUTTI_ERR_UNSUPPORTED, "its module is not installed: there is no %s in %s%s", file, folders[0], beside ? " or beside the program" : "");
	return NULL;
}

static const struct net_transport *load(const struct row *r)
{
	void *so = open_module(r->module);
	const struct net_module *m = so ? dlsym(so, "tutti_module") : NULL;
	if (so && !m)
		err_set(TUTTI_ERR_UNSUPPORTED, "%s is no module of tutti", r->module);
	else if (m && (m->size != sizeof(*m) || strcmp(m->version, NET_MODULE_VERSION)))
		err_set(TUTTI_ERR_UNSUPPORTED, "%s is of another build: \"%s\", expected \"%s\"", r->module, m->size == sizeof(*m) ? m->version : "?",
		        NET_MODULE_VERSION);
	else if (m)
		return m->start(&net_core);
	if (so)
		dlclose(so);
	return NULL;
}

/* ---- look-up ------------------------------------------------------------------------------------------------------ */

static struct row *row_of(const char *name)
{
	for (int i = 0; i < ROWS; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

bool net_is_known(const char *name) { return row_of(name); }

const char *net_name(int i) { return i < ROWS ? rows[i].name : NULL; }

const struct net_transport *net_find(const char *name)
{
	struct row *r = row_of(name);
	if (!r) {
		err_set(TUTTI_ERR_CONFIG, "no transport is called \"%s\"", name);
		return NULL;
	}
	pthread_mutex_lock(&loading);
	if (!r->t)
		r->t = load(r);
	const struct net_transport *t = r->t;
	pthread_mutex_unlock(&loading);
	assert(!t || filled(t));
	return t;
}
