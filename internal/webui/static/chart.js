// The chart of throughput over time.
import uPlot from "/static/vendor/uplot.js";

// Steps of the time axis in seconds: whole ones, up to hours.
const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class RateChart {
  constructor(box) {
    this.box = box;
    this.points = [[], []];
    new ResizeObserver(() => this.fit()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }

  clear() { this.points = [[], []]; this.plot?.setData(this.points); }

  // drawable says that there is a line to draw; of one point there is none.
  get drawable() { return this.points[0].length > 1; }

  // add takes a rate in bytes per second, seconds after the first one.
  add(seconds, rate) {
    const [x, y] = this.points;
    if (x.length && seconds <= x[x.length - 1]) return;
    x.push(seconds);
    y.push(rate / 1e6);
    if (x.length > 7200) { x.shift(); y.shift(); }
    if (!this.plot) this.rebuild();
    else this.plot.setData(this.points);
    const top = Math.max(...y);
    this.box.setAttribute("aria-label", `Throughput over time: now ${y[y.length - 1].toFixed(1)} MB/s, at most ${top.toFixed(1)} MB/s`);
  }

  fit() {
    if (!this.plot) { if (this.drawable) this.rebuild(); } else if (this.box.clientWidth) this.plot.setSize(this.size());
  }
  size() { return {width: this.box.clientWidth, height: this.box.clientHeight}; }

  rebuild() {
    this.plot?.destroy();
    this.plot = undefined;
    if (!this.box.clientWidth) return;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const axis = {stroke: css("--muted"), grid: {stroke: css("--line"), width: 1}, ticks: {show: false}, font: `${0.75 * rem}px system-ui, sans-serif`};
    this.plot = new uPlot({
      ...this.size(), legend: {show: false}, cursor: {show: false}, padding: [0.6 * rem, 1.2 * rem, 0, 0],
      scales: {x: {time: false, range: (_u, lo, hi) => [lo ?? 0, Math.max((lo ?? 0) + 10, hi)]}, y: {range: (_u, _lo, hi) => [0, Math.max(1, hi * 1.15)]}},
      axes: [{...axis, space: 5 * rem, incrs: steps, size: 1.8 * rem, values: (_u, v) => v.map((s) => s >= 60 ? `${Math.floor(s / 60)}:${String(Math.round(s % 60)).padStart(2, "0")}` : `${s} s`)},
        {...axis, size: 2.8 * rem, values: (_u, v) => v.map((n) => String(n))}],
      series: [{}, {stroke: css("--accent"), width: rem / 8, fill: css("--accent-soft"), points: {show: false}}],
    }, this.points, this.box);
  }
}
