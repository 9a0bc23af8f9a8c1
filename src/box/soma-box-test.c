/* `soma box` by itself, for tests of this folder. */
#include "box/box.h"

int main(int argc, char **argv)
{
	return box_main(argc, argv);
}
