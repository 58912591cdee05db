#include "server/observe/prometheus.h"

void prometheus_family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_escaped(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', out);
		if (*value == '\n')
			fputs("\\n", out);
		else
			fputc(*value, out);
	}
}

void prometheus_sample(FILE *out, const char *name, double value, const char *const *labels)
{
	fputs(name, out);
	for (size_t i = 0; labels && labels[i]; i += 2) {
		fprintf(out, "%s%s=\"", i ? "," : "{", labels[i]);
		put_escaped(out, labels[i + 1]);
		fputc('"', out);
	}
	fprintf(out, "%s %.17g\n", labels && labels[0] ? "}" : "", value);
}
