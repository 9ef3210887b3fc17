// A process to look into: maps a memfd and private memory, says where, and does on stdin's word
// what it is told: `exec` replaces itself by `sleep`, `poke` writes 0x5a to both mappings.
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const memfd = libc.func('int memfd_create(const char *name, unsigned int flags)')('child', 0);
libc.func('int ftruncate(int fd, int64_t len)')(memfd, 8 * 4096);
const mmap = libc.func('intptr_t mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t off)');
const shared = Number(mmap(0, 4 * 4096, 3, 1, memfd, 2 * 4096));
const private_ = Number(mmap(0, 2 * 4096, 3, 0x22, -1, 0));
const readOnly = Number(mmap(0, 4096, 1, 1, memfd, 0));
const memset = libc.func('uintptr_t memset(uintptr_t s, int c, size_t n)');
memset(shared, 0x11, 4096);
memset(private_, 0x22, 4096);

process.stdin.on('data', (data) => {
  const word = String(data).trim();
  if (word === 'poke') {
    memset(shared, 0x5a, 4);
    memset(private_, 0x5a, 4);
    console.log('{}');
  } else if (word === 'exec') {
    console.log('{}');
    libc.func('int execv(const char *path, const char **argv)')('/bin/sleep', ['sleep', '60', null]);
  }
});
console.log(JSON.stringify({ memfd, shared, private: private_, readOnly }));
