#include "lib/console.h"
#include "lib/finisher.h"
#include "lib/types.h"

/*
 * Calls the host by semihosting. The last word of its command line is the path of a file: it writes the file, reads it back
 * and compares. Then it appends numbered lines to the file until 'x' comes on the console, and ends with status 42. A
 * status of 1 to 9 says which step has failed.
 */

#define SYS_OPEN 0x01
#define SYS_CLOSE 0x02
#define SYS_WRITEC 0x03
#define SYS_WRITE0 0x04
#define SYS_WRITE 0x05
#define SYS_READ 0x06
#define SYS_SEEK 0x0a
#define SYS_FLEN 0x0c
#define SYS_CLOCK 0x10
#define SYS_ERRNO 0x13
#define SYS_GET_CMDLINE 0x15
#define SYS_EXIT 0x18
#define APPLICATION_EXIT 0x20026ul
#define MODE_W_PLUS 7
#define MODE_APPEND 9
#define MODE_R 1

#define SIZE 10000ul
#define ENOENT 2

static u8 written[SIZE], found[SIZE];
static char command_line[512];

/* The sequence lies in one page. */
__attribute__((noinline, aligned(16), naked)) static long call(u64 operation, const void *parameters)
{
	(void)operation;
	(void)parameters;
	__asm__ volatile(".option push\n.option norvc\nslli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop\nret");
}

static long call3(u64 operation, u64 a, u64 b, u64 c)
{
	u64 parameters[3] = {a, b, c};

	return call(operation, parameters);
}

static u64 length_of(const char *text)
{
	u64 n = 0;

	while (text[n] != '\0')
		n++;
	return n;
}

static long open(const char *path, u64 mode) { return call3(SYS_OPEN, (u64)path, mode, length_of(path)); }

static void end(u64 status)
{
	call3(SYS_EXIT, APPLICATION_EXIT, status, 0);
	power_off(9); /* not reached */
}

static void check(bool good, u64 step)
{
	if (!good)
		end(step);
}

static const char *last_word(void)
{
	u64 parameters[2] = {(u64)command_line, sizeof command_line};
	const char *word = command_line;

	check(call(SYS_GET_CMDLINE, parameters) == 0, 1);
	check(parameters[1] == length_of(command_line), 1);
	for (const char *p = command_line; *p != '\0'; p++)
		if (*p == ' ')
			word = p + 1;
	return word;
}

static void write_and_read(const char *path)
{
	long file = open(path, MODE_W_PLUS);

	check(file > 0, 2);
	for (u64 i = 0; i < SIZE; i++)
		written[i] = (u8)(i * 31 + (i >> 8));
	check(call3(SYS_WRITE, (u64)file, (u64)written, SIZE) == 0, 3);
	check(call3(SYS_FLEN, (u64)file, 0, 0) == (long)SIZE, 4);
	check(call3(SYS_SEEK, (u64)file, 5000, 0) == 0, 5);
	for (u64 have = 0; have < SIZE - 5000;) {
		u64 left = (u64)call3(SYS_READ, (u64)file, (u64)(found + have), SIZE - have);

		check(left < SIZE - have, 6);
		have = SIZE - left;
	}
	for (u64 i = 0; i < SIZE - 5000; i++)
		check(found[i] == written[5000 + i], 6);
	check(call3(SYS_READ, (u64)file, (u64)found, 1) == 1, 6);
	check(call3(SYS_CLOSE, (u64)file, 0, 0) == 0, 7);
	check(call3(SYS_WRITE, (u64)file, (u64)written, 4) == 4, 7);
	check(open("/nonexistent/file", MODE_R) == -1, 8);
	check(call(SYS_ERRNO, 0) == ENOENT, 8);
}

static void append_line(long file, u32 number)
{
	char line[12];

	for (int i = 9; i >= 0; i--, number /= 10)
		line[i] = (char)('0' + number % 10);
	line[10] = '\n';
	check(call3(SYS_WRITE, (u64)file, (u64)line, 11) == 0, 3);
}

int main(void)
{
	static const char newline = '\n';
	const char *path = last_word();
	long file;

	write_and_read(path);
	check(call(SYS_CLOCK, 0) >= 0, 9);
	file = open(path, MODE_APPEND);
	call(SYS_WRITE0, "semihosting works");
	call(SYS_WRITEC, &newline);
	for (u32 number = 0;; number++) {
		int command = console_getc();

		append_line(file, number);
		if (command == 's')
			print("@stats {\"lines\":%u}\n", number + 1);
		if (command == 'x')
			end(42);
	}
}
