#include "lib/console.h"

/* Prints a line and powers off. */
int main(void)
{
	print("hello from RV64\n");
	return 0;
}
