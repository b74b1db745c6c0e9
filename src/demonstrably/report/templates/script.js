"use strict";

// Runs in the head: an embedded animation may speak before the rest of the page is read. It tells how tall it is; it
// may say nothing else.
addEventListener("message", (event) => {
  const height = Number(event.data?.height);
  if (!(height > 0)) return;
  document.querySelectorAll("iframe").forEach((frame) => {
    if (frame.contentWindow === event.source) frame.style.height = `${Math.min(height, 2000)}px`;
  });
});

addEventListener("DOMContentLoaded", () => {
  const tip = document.getElementById("tip");
  const known = new WeakMap();

  const value = (domain, fraction) => {
    const [low, high, logarithmic] = domain.split(",").map(Number);
    if (!logarithmic) return low + fraction * (high - low);
    return 10 ** (Math.log10(low) + fraction * (Math.log10(high) - Math.log10(low)));
  };
  const words = (number) =>
    Math.abs(number) >= 100
      ? number.toLocaleString("en", { maximumFractionDigits: 0 })
      : Number(number.toPrecision(3)).toString();

  // The points of a curve, read back from its path; positions are fractions of the plot.
  const curve = (plot, path) => {
    const name = path.dataset.name;
    return Array.from(path.getAttribute("d").matchAll(/[ML]([\d.e+-]+) ([\d.e+-]+)/g), ([, a, b]) => {
      const x = a / 1000;
      const y = b / 1000;
      const at = words(value(plot.dataset.x, x));
      return { x, y, text: () => `${name}: ${words(value(plot.dataset.y, 1 - y))}\n${plot.dataset.xName} ${at}` };
    });
  };

  const marks = (plot) => {
    const box = plot.getBoundingClientRect();
    const points = Array.from(plot.querySelectorAll("[data-tip]"), (mark) => {
      const own = mark.getBoundingClientRect();
      const x = (own.left + own.width / 2 - box.left) / box.width;
      const y = (own.top + own.height / 2 - box.top) / box.height;
      return { x, y, text: () => mark.dataset.tip };
    });
    return points.sort((a, b) => a.x - b.x || a.y - b.y);
  };

  const series = (plot) => {
    const width = plot.clientWidth || plot.getBoundingClientRect().width;
    const old = known.get(plot);
    if (old && old.width === width) return old;
    const curves = Array.from(plot.querySelectorAll("path[data-name]"), (path) => curve(plot, path));
    const fresh = { width, all: [marks(plot), ...curves].filter((points) => points.length), row: 0, column: 0 };
    known.set(plot, fresh);
    return fresh;
  };

  const hide = (plot) => {
    tip.hidden = true;
    plot.querySelector(":scope > .ring")?.remove();
  };

  const show = (plot, point) => {
    hide(plot);
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    ring.setAttribute("class", "ring");
    ring.setAttribute("r", "7");
    ring.setAttribute("cx", `${100 * point.x}%`);
    ring.setAttribute("cy", `${100 * point.y}%`);
    plot.append(ring);
    tip.textContent = point.text();
    tip.hidden = false;
    const box = plot.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const left = box.left + point.x * box.width - own.width / 2;
    const above = box.top + point.y * box.height - own.height - 14;
    const top = above < 4 ? above + own.height + 28 : above;
    tip.style.transform = `translate(${Math.max(4, Math.min(left, innerWidth - own.width - 4))}px, ${top}px)`;
  };

  const nearest = (plot, event) => {
    const box = plot.getBoundingClientRect();
    const found = series(plot);
    let best = 32 ** 2;
    found.all.forEach((points, row) => points.forEach((point, column) => {
      const across = box.left + point.x * box.width - event.clientX;
      const down = box.top + point.y * box.height - event.clientY;
      // Marks come first: a dot is what was aimed at when a curve passes through it.
      const distance = across ** 2 + down ** 2 + (row ? 9 : 0);
      if (distance < best) [best, found.row, found.column] = [distance, row, column];
    }));
    if (best < 32 ** 2) show(plot, found.all[found.row][found.column]);
    else hide(plot);
  };

  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const walk = (plot, event) => {
    const move = step[event.key];
    const found = series(plot);
    if (event.key === "Escape") hide(plot);
    if (!move || !found.all.length) return;
    event.preventDefault();
    const here = found.all[found.row][found.column];
    found.row = (found.row + move[0] + found.all.length) % found.all.length;
    const points = found.all[found.row];
    if (move[0]) {
      const apart = points.map((point) => Math.abs(point.x - here.x));
      found.column = apart.indexOf(Math.min(...apart));
    } else {
      found.column = Math.max(0, Math.min(points.length - 1, found.column + move[1]));
    }
    show(plot, points[found.column]);
  };

  document.querySelectorAll("svg.plot").forEach((plot) => {
    plot.addEventListener("pointermove", (event) => nearest(plot, event));
    plot.addEventListener("pointerdown", (event) => nearest(plot, event));
    plot.addEventListener("pointerleave", () => hide(plot));
    plot.addEventListener("keydown", (event) => walk(plot, event));
    plot.addEventListener("blur", () => hide(plot));
  });

  addEventListener("beforeprint", () => document.querySelectorAll("details.fold:not([open])").forEach((part) => {
    part.open = true;
    part.dataset.printed = "";
  }));
  addEventListener("afterprint", () => document.querySelectorAll("[data-printed]").forEach((part) => {
    part.open = false;
    delete part.dataset.printed;
  }));
});
