/**
 * Memory of a process that has no object: private memory, and files that cannot be opened. The
 * board reaches it through /proc/<pid>/mem. It has one range for each window of the address space
 * with a pinned page, however many mappings the pages are of. A program has its memory in two or
 * three windows. Page tables lead to pinned pages only.
 */
import { efault, withoutFds } from '../../../platform/errno.ts';
import { close, open } from '../../../platform/libc/fd.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { Mm } from '../core/task.ts';
import type { BoardShares } from './board-shares.ts';
import type { Backing, BoardMemory } from './pin-objects.ts';

/** A multiple of the largest IOMMU page, so that it fits here as it does in the address space. */
export const WINDOW_PAGES = 2 ** 36 / PAGE_SIZE;

/**
 * The place of a process's pages on the board. They are consecutive up to the end of the window.
 */
export interface PlacedPages {
  readonly backing: Backing;
  readonly pfn: number;
  readonly nrPages: number;
}

class Window implements Backing {
  readonly startPfn: number;
  readonly #onUnpinned: () => void;
  #pins = 0;

  constructor(startPfn: number, onUnpinned: () => void) {
    this.startPfn = startPfn;
    this.#onUnpinned = onUnpinned;
  }

  get(): void {
    this.#pins++;
  }

  put(): void {
    if (--this.#pins === 0) this.#onUnpinned();
  }
}

export class ProcessWindows {
  readonly #board: BoardMemory;
  readonly #shares: BoardShares;
  /** Windows with pinned pages, by number. */
  readonly #windows = new Map<Mm, Map<number, Window>>();

  constructor(board: BoardMemory, shares: BoardShares) {
    this.#board = board;
    this.#shares = shares;
  }

  /**
   * Places pages from vaddrPage on, at most nrPages, and takes one reference. EFAULT when the
   * address space is dead. ENOMEM when the share of the process is used up.
   */
  place(mm: Mm, vaddrPage: number, nrPages: number): PlacedPages {
    const number = Math.floor(vaddrPage / WINDOW_PAGES);
    const inWindow = vaddrPage - number * WINDOW_PAGES;
    const backing = this.#windows.get(mm)?.get(number) ?? this.#attach(mm, number);
    backing.get();
    return { backing, pfn: backing.startPfn + inWindow, nrPages: Math.min(nrPages, WINDOW_PAGES - inWindow) };
  }

  #attach(mm: Mm, number: number): Window {
    const giveBack = this.#shares.takeWindow(mm.space.pid, WINDOW_PAGES * PAGE_SIZE);
    let startPfn: number;
    try {
      startPfn = this.#board.attachProcess(openMemory(mm), number * WINDOW_PAGES * PAGE_SIZE, WINDOW_PAGES * PAGE_SIZE);
    } catch (error) {
      giveBack();
      throw withoutFds(error);
    }
    const windows = this.#windows.get(mm) ?? new Map<number, Window>();
    const window = new Window(startPfn, () => {
      windows.delete(number);
      if (windows.size === 0) this.#windows.delete(mm);
      this.#board.detach(startPfn);
      giveBack();
    });
    windows.set(number, window);
    this.#windows.set(mm, windows);
    return window;
  }
}

function openMemory(mm: Mm): number {
  const { pid } = mm.space;
  const memFd = open(`/proc/${pid}/mem`);
  if (mm.space.isCurrent()) return memFd;
  // The process exec'ed or exited meanwhile: the opened file is the memory of another image or
  // process.
  close(memFd);
  throw efault(`address space of process ${pid} is gone`);
}
