/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree as a drawing: each place a box in its parent's, devices in the first row, a short line upwards for the edge with its figures.
 *
 *      +- node 0 -------------------+
 *      |    25 Gb/s, 5 us           |
 *      |     |       |              |
 *      |  +-----+ +-----+           |
 *      |  | nic | | nic |           |
 *      |  +-----+ +-----+           |
 *      |  [0] [1] [2] [3] [4] [5]   |
 *      +----------------------------+
 *
 * Sizes are found from the inside to the outside, then boxes are drawn from the outside to the inside. When there are many places,
 * neighbours that are equal are drawn once, as a stack with their number.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <topo/inner.h>

enum { PAD = 8, LABEL = 18, STUB = 18, TICK = 6, ROW = 320, LEAF_H = 22, LETTER = 7, SMALL = 6, STACK = 6, TEXT = 96 };

enum { MANY = 600, KEEP = 3 };          /* from so many places on, more than these few neighbours become one */

static const char *const fill[TOPO_KINDS] = {
	"#f6f8fa", "#dfe9f5", "#eef3e6", "#fdf3d8", "#fbe6cf", "#f4efe9", "#ffffff", "#cfe3f7", "#e3d7f3"
};

struct box { int32_t x, y, w, h, n; };          /* x, y: within the parent's; n: for how many it stands, 0: it is not drawn */

struct svg {
	FILE *f;
	const struct topo *t;
	const uint64_t *shape;
	struct box *box;
	int32_t *rank_at;
	bool fold;
};

/* ---- words ------------------------------------------------------------------------------------------------------ */

static void label(const struct svg *s, int32_t p, char text[TEXT])
{
	const struct topo_place *x = &s->t->place[p];

	if (s->box[p].n > 1)
		snprintf(text, TEXT, "%d x %s", s->box[p].n, topo_kinds[x->kind]);
	else if (x->kind == TOPO_RANK)
		snprintf(text, TEXT, "%d", s->rank_at[p]);
	else if (*x->name)
		snprintf(text, TEXT, "%s%s%s", x->kind == TOPO_NIC ? "" : topo_kinds[x->kind], x->kind == TOPO_NIC ? "" : " ", x->name);
	else
		snprintf(text, TEXT, p ? "%s %d" : "%s", topo_kinds[x->kind], x->index);
}

static const char *edge_text(const struct svg *s, int32_t p, char text[FIGURES])
{
	const struct topo_place *x = &s->t->place[p];

	return figures(text, (enum topo_kind)x->kind, x->bandwidth, x->latency);
}

/* Printable ASCII, with XML's own characters as they must be. */
static void put_text(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '<')
			fputs("&lt;", f);
		else if (*text == '>')
			fputs("&gt;", f);
		else if (*text == '&')
			fputs("&amp;", f);
		else
			putc(*text >= ' ' && *text <= '~' ? *text : '?', f);
	}
}

/* ---- sizes ------------------------------------------------------------------------------------------------------ */

/* Does this child's edge need words, or did its elder neighbour, drawn to its left, say the same? */
static bool speaks(const struct svg *s, int32_t c, int32_t before)
{
	const struct topo_place *x = &s->t->place[c], *y = before < 0 ? NULL : &s->t->place[before];

	return (x->bandwidth > 0 || x->latency > 0) &&
	       !(y && y->kind == x->kind && fabs(y->bandwidth - x->bandwidth) <= 0 && fabs(y->latency - x->latency) <= 0);
}

/* The next child to be drawn after c, or the first with c == p. */
static int32_t next_child(const struct svg *s, int32_t p, int32_t c)
{
	int32_t end = s->t->place[p].end;

	for (c = c == p ? p + 1 : s->t->place[c].end; c < end && !s->box[c].n; c = s->t->place[c].end)
		;
	return c < end ? c : -1;
}

static int32_t largest(int32_t a, int32_t b) { return a > b ? a : b; }

/* How wide rows become: as wide as one leaf row, or so that the whole is about twice as wide as it is high. */
static int32_t row_width(const struct svg *s, int32_t p)
{
	double area = 0;
	int32_t widest = 0;

	for (int32_t c = next_child(s, p, p); c >= 0; c = next_child(s, p, c)) {
		area += (double)(s->box[c].w + PAD) * (s->box[c].h + PAD + STUB);
		widest = largest(widest, s->box[c].w);
	}
	area = sqrt(2 * area) + widest / 2;             /* the last row is seldom full */
	return area > ROW ? (int32_t)area : ROW;
}

static void fold_children(const struct svg *s, int32_t p)
{
	for (int32_t c = p + 1, end = s->t->place[p].end; c < end;) {
		int n = s->fold ? topo_fold(s->t, s->shape, c, end) : 1, leaf = s->t->place[c].kind >= TOPO_RANK;
		bool one = n > (leaf ? 8 * KEEP : KEEP);

		for (int i = 0; i < n; i++, c = s->t->place[c].end)
			s->box[c].n = !one ? 1 : !i ? n : 0;
	}
}

/* Children in rows, each kind in rows of its own. */
static void lay_out(const struct svg *s, int32_t p)
{
	struct box *b = &s->box[p];
	char text[TEXT], edge[FIGURES];
	int32_t x = PAD, y = LABEL + PAD, high = 0, most = row_width(s, p), before = -1;

	label(s, p, text);
	b->w = 2 * PAD + LETTER * (int32_t)strlen(text);
	for (int32_t c = next_child(s, p, p); c >= 0; c = next_child(s, p, c)) {
		struct box *k = &s->box[c];
		int32_t stub, right, words;     /* words: where those of the edge end */

		if (before >= 0 && (x + k->w > most || s->t->place[before].kind != s->t->place[c].kind)) {
			x = PAD;
			y += high + PAD;
			high = 0;
			before = -1;
		}
		stub = *edge_text(s, c, edge) ? STUB : 0;
		right = x + k->w + PAD;
		words = speaks(s, c, before) ? x + k->w / 2 + PAD + SMALL * (int32_t)strlen(edge) : 0;
		k->x = x;
		k->y = y + stub;
		b->w = largest(b->w, largest(right, words));
		high = largest(high, stub + k->h);
		x = right + (k->n > 1 ? STACK : 0);
		before = c;
	}
	b->h = y + high + PAD;
}

static void measure(const struct svg *s, int32_t p)
{
	char text[TEXT];

	if (s->t->place[p].kind < TOPO_RANK) {
		lay_out(s, p);
		return;
	}
	s->box[p].h = LEAF_H;
	label(s, p, text);
	if (s->t->place[p].kind == TOPO_RANK && s->box[p].n <= 1)
		snprintf(text, sizeof text, "%d", s->t->nranks - 1);    /* ranks are equally wide */
	s->box[p].w = 2 * PAD + LETTER * (int32_t)strlen(text);
}

/* ---- drawing ---------------------------------------------------------------------------------------------------- */

static void draw_box(const struct svg *s, int32_t p, int32_t x, int32_t y)
{
	const struct box *b = &s->box[p];
	char text[TEXT];
	bool leaf = s->t->place[p].kind >= TOPO_RANK;

	for (int i = b->n > 1 ? 2 : 0; i >= 0; i--)
		fprintf(s->f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"3\" fill=\"%s\"/>\n", x + i * STACK / 2,
			y + i * STACK / 2, b->w, b->h, fill[s->t->place[p].kind]);
	label(s, p, text);
	fprintf(s->f, leaf ? "<text x=\"%d\" y=\"%d\">" : "<text class=\"k\" x=\"%d\" y=\"%d\">", x + PAD, y + 15);
	put_text(s->f, text);
	fputs("</text>\n", s->f);
}

static void draw_edge(const struct svg *s, int32_t c, int32_t x, int32_t y, bool words)
{
	int32_t middle = x + s->box[c].w / 2;
	char text[FIGURES];

	if (!*edge_text(s, c, text))
		return;
	fprintf(s->f, "<path d=\"M%d %dv%d\"/>\n", middle, y, -TICK);
	if (words)
		fprintf(s->f, "<text class=\"e\" x=\"%d\" y=\"%d\">%s</text>\n", middle - 2, y - TICK - 3, text);
}

/* p's left upper corner is at x, y. */
static void draw(const struct svg *s, int32_t p, int32_t x, int32_t y)
{
	int32_t before = -1;

	draw_box(s, p, x, y);
	for (int32_t c = next_child(s, p, p); c >= 0; c = next_child(s, p, c)) {
		const struct box *k = &s->box[c];

		draw_edge(s, c, x + k->x, y + k->y, speaks(s, c, before >= 0 && s->box[before].x < k->x ? before : -1));
		draw(s, c, x + k->x, y + k->y);
		before = c;
	}
}

static void draw_all(const struct svg *s)
{
	int32_t w, h;

	s->box[0].n = 1;
	for (int p = 0; p < s->t->nplaces; p++)
		fold_children(s, p);
	for (int p = s->t->nplaces - 1; p >= 0; p--)
		measure(s, p);
	w = s->box[0].w + 2 * PAD;
	h = s->box[0].h + 2 * PAD;
	fprintf(s->f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n", w, h, w, h);
	fputs("<style>rect{stroke:#57606a}text{font:12px monospace;fill:#24292f}.k{font-weight:bold}.e{font-size:10px;fill:#57606a}"
	      "path{stroke:#57606a;stroke-width:2}</style>\n", s->f);
	fprintf(s->f, "<title>%d ranks</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\" style=\"stroke:none\"/>\n",
		s->t->nranks, w, h);
	draw(s, 0, PAD, PAD);
	fputs("</svg>\n", s->f);
}

void topo_svg(FILE *f, const struct topo *t)
{
	uint64_t *shape = topo_shapes(t);
	struct box *box = calloc((size_t)t->nplaces, sizeof *box);
	int32_t *rank_at = malloc((size_t)t->nplaces * sizeof *rank_at);
	struct svg s = { f, t, shape, box, rank_at, t->nplaces > MANY };

	if (!shape || !box || !rank_at) {
		fputs("<!-- no memory to draw the topology -->\n", f);
	} else {
		for (int r = 0; r < t->nranks; r++)
			rank_at[t->rank[r]] = r;
		draw_all(&s);
	}
	free(shape);
	free(box);
	free(rank_at);
}
