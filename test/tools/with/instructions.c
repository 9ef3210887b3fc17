/*
 * Each instruction on memory of its own, and on a mapping whose accesses are emulated (a BAR of
 * memory that several devices share, under --map-registers): registers, flags and bytes are alike.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { SIZE = 4096, AT = 1024, FLAGS = 0x8d5 };

struct state {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, flags;
	uint8_t vector[32];
	uint64_t r9;
};

/* rdi is where the memory is, rcx is 5, rdx 3; rsi is ordinary memory. */
#define INSTRUCTIONS(X) \
	X("movb %al,(%rdi)") X("movb %ah,1(%rdi)") X("movb %sil,-1(%rdi)") X("movb %r9b,(%rdi)") X("movw %ax,2(%rdi)") \
	X("movl %eax,4(%rdi)") X("movq %rax,8(%rdi)") X("movq %r9,0x400(%rdi)") X("movl %ebx,(%rdi,%rdx,8)") \
	X("movb $7,(%rdi,%rcx)") X("movw $0x1234,(%rdi)") X("movl $0x12345678,4(%rdi)") X("movq $-5,(%rdi)") \
	X("movb (%rdi),%al") X("movb 1(%rdi),%bh") X("movb (%rdi),%sil") X("movw (%rdi),%ax") X("movl (%rdi),%eax") \
	X("movq (%rdi),%r9") X("movq -8(%rdi,%rcx,8),%rbx") X("movzbl (%rdi),%eax") X("movzbw 3(%rdi),%ax") \
	X("movzbq 1(%rdi),%rax") X("movzwl (%rdi),%ebx") X("movzwq (%rdi),%r9") X("movsbw (%rdi),%ax") \
	X("movsbl 1(%rdi),%eax") X("movsbq 2(%rdi),%rax") X("movswl (%rdi),%eax") X("movswq (%rdi),%rax") \
	X("movslq (%rdi),%rax") X("addb %al,(%rdi)") X("addl %eax,(%rdi)") X("adcq %rax,(%rdi)") X("sbbl %ebx,(%rdi)") \
	X("subw %ax,(%rdi)") X("andb %bl,(%rdi)") X("orl %eax,(%rdi)") X("xorq %r9,(%rdi)") X("cmpl %eax,(%rdi)") \
	X("addq (%rdi),%rax") X("adcb (%rdi),%al") X("sbbw (%rdi),%ax") X("subl (%rdi),%eax") X("andl (%rdi),%eax") \
	X("orb 1(%rdi),%bl") X("xorl (%rdi),%r9d") X("cmpb (%rdi),%bl") X("cmpq (%rdi),%rax") X("addl $100,(%rdi)") \
	X("addb $-1,(%rdi)") X("adcw $0x7fff,(%rdi)") X("orb $0x80,(%rdi)") X("andq $-16,(%rdi)") X("sbbl $1,(%rdi)") \
	X("subq $0x12345678,(%rdi)") X("xorl $-1,(%rdi)") X("cmpl $-1,(%rdi)") X("cmpb $0x5a,(%rdi)") \
	X("testb $4,(%rdi)") X("testl $0x80000000,(%rdi)") X("testl %eax,(%rdi)") X("testq %r9,(%rdi)") \
	X("incl (%rdi)") X("incb (%rdi)") X("decb (%rdi)") X("decq (%rdi)") X("notq (%rdi)") X("notb (%rdi)") \
	X("negw (%rdi)") X("negl (%rdi)") X("xchgl %eax,(%rdi)") X("xchgb %bh,(%rdi)") X("lock addl %eax,(%rdi)") \
	X("lock decl (%rdi)") X("movnti %rax,(%rdi)") X("movnti %eax,(%rdi)") X("movups (%rdi),%xmm0") \
	X("movups %xmm0,3(%rdi)") X("movaps %xmm0,16(%rdi)") X("movapd (%rdi),%xmm0") X("movdqa (%rdi),%xmm0") \
	X("movdqa %xmm0,(%rdi)") X("movdqu 1(%rdi),%xmm0") X("movdqu %xmm0,(%rdi)") X("movss (%rdi),%xmm0") \
	X("movss %xmm0,(%rdi)") X("movsd (%rdi),%xmm0") X("movsd %xmm0,(%rdi)") X("movd (%rdi),%xmm0") \
	X("movd %xmm0,(%rdi)") X("movq (%rdi),%xmm0") X("movq %xmm0,(%rdi)") X("movntdq %xmm0,(%rdi)") \
	X("movntps %xmm0,(%rdi)") X("movsb") X("movsl") X("rep movsb") X("rep movsw") X("rep movsq") X("stosb") \
	X("rep stosb") X("rep stosl") X("std; rep movsw; cld") X("std; stosq; cld") \
	X("xchg %rsi,%rdi; rep movsb; xchg %rsi,%rdi") X("xchg %rsi,%rdi; movsq; xchg %rsi,%rdi") \
	X("btl $3,(%rdi)") X("btsw $17,(%rdi)") X("lock btrq $63,(%rdi)") X("btcl $31,4(%rdi)") X("btl %ecx,(%rdi)") \
	X("btsq %rdx,(%rdi)") X("btrw %cx,(%rdi)") X("not %rcx; lock btcl %ecx,(%rdi); not %rcx") \
	X("shl $5,%rcx; btsl %ecx,-16(%rdi); shr $5,%rcx") X("not %rcx; btsq %rcx,(%rdi); not %rcx") \
	X("lock cmpxchgl %ebx,(%rdi)") X("movq (%rdi),%rax; lock cmpxchgq %rbx,(%rdi)") X("cmpxchgb %cl,1(%rdi)") \
	X("movb (%rdi),%al; cmpxchgb %r9b,(%rdi)") X("movw (%rdi),%ax; cmpxchgw %bx,(%rdi)") X("lock xaddl %eax,(%rdi)") \
	X("xaddq %r9,8(%rdi)") X("xaddb %bh,(%rdi)") X("lock cmpxchg8b (%rdi)") X("lock cmpxchg16b (%rdi)") \
	X("movl (%rdi),%eax; movl 4(%rdi),%edx; cmpxchg8b (%rdi); movl $3,%edx") \
	X("movq (%rdi),%rax; movq 8(%rdi),%rdx; cmpxchg16b (%rdi); movl $3,%edx") X("sete (%rdi)") X("setg 1(%rdi)") \
	X("setbe (%rdi)") X("setnp (%rdi)") X("cmovel (%rdi),%eax") X("cmovlq (%rdi),%rax") X("cmovaw (%rdi),%bx") \
	X("cmovnsl (%rdi),%ebx") X("cmovnoq (%rdi),%r9") X("movlps (%rdi),%xmm0") X("movhpd 8(%rdi),%xmm0") \
	X("movlpd %xmm0,(%rdi)") X("movhps %xmm0,8(%rdi)") X("lddqu 1(%rdi),%xmm0") \
	X("shll (%rdi)" SHIFTED) X("shrb 1(%rdi)" SHIFTED) X("sarq (%rdi)" SHIFTED) X("rolw (%rdi)") X("rorl 3(%rdi)") \
	X("rclb (%rdi)") X("rcrq (%rdi)") X("shlq $37,(%rdi)" FAR) X("shrw $3,(%rdi)" FAR) X("sarl $31,1(%rdi)" FAR) \
	X("rolb $11,(%rdi)" CARRY) X("rorq $63,(%rdi)" CARRY) X("rclw $21,(%rdi)" CARRY) X("rcrb $12,(%rdi)" CARRY) \
	X("shlb %cl,(%rdi)" FAR) X("sarw %cl,(%rdi)" FAR) X("shrq %cl,-8(%rdi)" FAR) X("rcll %cl,(%rdi)" CARRY) \
	X("xor %ecx,%ecx; movb $64,%cl; shrq %cl,(%rdi); mov $5,%ecx") X("rorb $8,(%rdi)" CARRY) \
	X("imull (%rdi),%eax" PRODUCT) X("imulq 1(%rdi),%r9" PRODUCT) X("imulw (%rdi),%bx" PRODUCT) \
	X("imull $-7,(%rdi),%ebx" PRODUCT) X("imulq $0x12345678,(%rdi),%rax" PRODUCT) X("imulw $0x1234,(%rdi),%ax" PRODUCT) \
	X("mulb (%rdi)" PRODUCT) X("mulw (%rdi)" PRODUCT DX) X("mull (%rdi)" PRODUCT DX) X("mulq 1(%rdi)" PRODUCT DX) \
	X("imulb (%rdi)" PRODUCT) X("imull (%rdi)" PRODUCT DX) X("imulq (%rdi)" PRODUCT DX)

/* Only flags that are defined, and a result in rdx is looked at in rbx. */
#define DEFINED(flags) "; pushfq; andq $" flags ",(%rsp); popfq"
#define SHIFTED DEFINED("0xac5")
#define FAR DEFINED("0x2c5")
#define CARRY DEFINED("0x2d5")
#define PRODUCT DEFINED("0xa01")
#define DX "; mov %rdx,%rbx; mov $3,%edx"

#define AVX_INSTRUCTIONS(X) \
	X("vmovdqu (%rdi),%ymm0") X("vmovdqu %ymm0,(%rdi)") X("vmovdqa (%rdi),%xmm0") X("vmovdqa %xmm0,(%rdi)") \
	X("vmovups 1(%rdi),%ymm0") X("vmovups %ymm0,-31(%rdi)") X("vmovupd (%rdi),%xmm0") X("vmovaps %xmm0,16(%rdi)") \
	X("vmovss (%rdi),%xmm0") X("vmovss %xmm0,(%rdi)") X("vmovsd (%rdi),%xmm0") X("vmovsd %xmm0,8(%rdi)") \
	X("vmovd (%rdi),%xmm0") X("vmovd %xmm0,(%rdi)") X("vmovq (%rdi),%xmm0") X("vmovq %xmm0,(%rdi)") \
	X("vmovntdq %ymm0,(%rdi)") X("vmovntdqa (%rdi),%xmm0") X("vlddqu (%rdi),%ymm0") X("vmovntps %ymm0,(%rdi)") \
	X("vmovdqu (%rdi),%ymm9; vmovdqa %ymm9,%ymm0") X("vmovdqa %ymm0,%ymm9; vmovdqu %ymm9,(%rdi)") \
	X("xchg %rdi,%r9; vmovdqu (%r9),%ymm0; xchg %rdi,%r9") X("vmovdqu (%rdi,%rdx,8),%xmm0") \
	X("vmovhps (%rdi),%xmm0,%xmm0") X("vmovdqa %ymm0,%ymm1; vmovlpd (%rdi),%xmm1,%xmm0") \
	X("vmovhpd %xmm0,(%rdi)") X("vmovlps %xmm0,(%rdi)") X("movups (%rdi),%xmm0") X("movbel (%rdi),%eax") \
	X("movbeq %rax,(%rdi)") X("movbew (%rdi),%bx") X("movntdqa (%rdi),%xmm0")

/* A routine for each, and a table of them. */
#define ROUTINE(text) BETWEEN(text, "movdqu 56(%r15),%xmm0", "movdqu %xmm0,56(%r15)")
#define AVX_ROUTINE(text) BETWEEN(text, "vmovdqu 56(%r15),%ymm0", "vmovdqu %ymm0,56(%r15); vzeroupper")
#define BETWEEN(text, load, save) \
	".quad 1f\n.pushsection .text\n1: " LOAD(load) text "\n" SAVE(save) "ret\n.popsection\n"
#define LOAD(VLOAD) \
	"mov 0(%r15),%rax; mov 8(%r15),%rbx; mov 16(%r15),%rcx; mov 24(%r15),%rdx; mov 32(%r15),%rsi;" \
	"mov 40(%r15),%rdi; " VLOAD "; mov 88(%r15),%r9; pushq 48(%r15); popfq;"
#define SAVE(VSAVE) \
	"pushfq; popq 48(%r15); mov %rax,0(%r15); mov %rbx,8(%r15); mov %rcx,16(%r15); mov %rdx,24(%r15);" \
	"mov %rsi,32(%r15); mov %rdi,40(%r15); " VSAVE "; mov %r9,88(%r15);"

asm(".pushsection .data\nroutines:\n" INSTRUCTIONS(ROUTINE) "avx_routines:\n" AVX_INSTRUCTIONS(AVX_ROUTINE) ".popsection\n");
extern void *routines[], *avx_routines[];

#define NAME(text) text,
static const char *const names[] = { INSTRUCTIONS(NAME) }, *const avx_names[] = { AVX_INSTRUCTIONS(NAME) };
#define COUNT(names) (int)(sizeof(names) / sizeof((names)[0]))

static void run(void *routine, struct state *state)
{
	register struct state *at asm("r15") = state;
	asm volatile("sub $256,%%rsp; call *%1; add $256,%%rsp"
		     : "+r"(at)
		     : "r"(routine)
		     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r9", "xmm0", "xmm1", "xmm9", "memory", "cc");
}

static uint64_t seed = 88172645463325252ull;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static char *map_bar(void)
{
	int container = open("/dev/vfio/vfio", O_RDWR), group = open("/dev/vfio/0", O_RDWR);
	struct vfio_region_info info = { .argsz = sizeof(info), .index = 2 };
	ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
	ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:02.0");
	if (device < 0 || ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) || !(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		exit(2);
	return mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
}

/* An even round has values that carry and overflow. */
static struct state given(int round, char *memory, char *other)
{
	struct state state = { .rcx = 5, .rdx = 3, .flags = 0x202 | (random64() & FLAGS) };
	state.rdi = (uintptr_t)memory + AT;
	state.rsi = (uintptr_t)other + AT;
	state.rax = round % 2 ? random64() : 0x7fffffff7fff7f80;
	state.rbx = random64();
	state.r9 = random64();
	for (int i = 0; i < 32; i++)
		state.vector[i] = random64();
	return state;
}

static void compare(char *bar, void *const *routines, const char *const *names, int count)
{
	static char plain[SIZE] __attribute__((aligned(4096))), others[2][SIZE], after[SIZE];
	int alike = 0;
	for (int n = 0; n < count; n++) {
		int same = 1;
		for (int round = 0; round < 4; round++) {
			for (int i = AT - 32; i < AT + 40; i++)
				plain[i] = round < 2 ? 0xff : random64();
			for (int i = 0; i < SIZE; i++)
				others[0][i] = others[1][i] = random64();
			for (int i = AT - 32; i < AT + 40; i += 8)
				*(volatile uint64_t *)(bar + i) = *(uint64_t *)(plain + i);
			*(volatile uint64_t *)(bar + 2 * AT) = *(uint64_t *)(plain + 2 * AT);
			struct state here = given(round, plain, others[0]), there = here;
			there.rdi += bar - plain;
			there.rsi += others[1] - others[0];
			run(routines[n], &here);
			run(routines[n], &there);
			there.rdi -= bar - plain;
			there.rsi -= others[1] - others[0];
			here.flags &= FLAGS;
			there.flags &= FLAGS;
			for (int i = AT - 32; i < AT + 40; i += 8)
				*(uint64_t *)(after + i) = *(volatile uint64_t *)(bar + i);
			same &= !memcmp(&here, &there, sizeof(here)) && !memcmp(others[0], others[1], SIZE);
			same &= !memcmp(after + AT - 32, plain + AT - 32, 72);
			same &= *(volatile uint64_t *)(bar + 2 * AT) == *(uint64_t *)(plain + 2 * AT);
		}
		alike += same;
		if (!same)
			printf("%s: not alike\n", names[n]);
	}
	printf("%d of %d alike\n", alike, count);
}

int main(void)
{
	char *bar = map_bar();
	if (bar == MAP_FAILED)
		return 3;
	compare(bar, routines, names, COUNT(names));
	if (__builtin_cpu_supports("avx2"))
		compare(bar, avx_routines, avx_names, COUNT(avx_names));
	return 0;
}
