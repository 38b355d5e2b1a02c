// Answers questions about a page: a selector engine of Playwright's, whose world has prototypes of its own. What it finds is
// the element that was asked for, or one that stands nowhere and holds the answer as JSON.
(() => {
  const MOST_FIELDS = 1000, MOST_CHARACTERS = 1000, MOST_LABELS = 500;
  const NAMES = ["role", "aria-checked", "aria-disabled"];
  const BOXES = "input[type=checkbox], input[type=radio], input[type=file]";
  const once = new Set(); // fields that are or were for passwords: what a "show" button uncovers stays hidden
  const token = Math.random(); // each document has a world of its own
  let changes = []; // what puts back what is changed of the page for a look

  // All elements from a root on, those of shadow trees with them; closed ones are open to this world, see `shadows.py`.
  function* elements(root) {
    const waiting = [root];
    for (const tree of waiting) {
      const walker = document.createTreeWalker(tree, NodeFilter.SHOW_ELEMENT);
      for (let node = walker.currentNode; node; node = walker.nextNode()) {
        if (node.nodeType === Node.ELEMENT_NODE) yield node;
        if (node.shadowRoot) waiting.push(node.shadowRoot);
      }
    }
  }
  function* found(selector) {
    for (const element of elements(document)) if (element.matches(selector)) yield element;
  }

  const shown = (element) => element.checkVisibility({ visibilityProperty: true });
  const middle = (place) => [place.left + place.width / 2, place.top + place.height / 2];
  const within = (element, [x, y]) => {
    const place = element.getBoundingClientRect();
    return [x - place.left - element.clientLeft, y - place.top - element.clientTop];
  };

  // Many pages hide a box and show its label in that place: there the label is what a person clicks.
  const labelOver = (box) => {
    if (!box.matches("input[type=checkbox], input[type=radio]") || box.matches(":disabled")) return null;
    box.scrollIntoViewIfNeeded();
    const hit = box.getRootNode().elementFromPoint(...middle(box.getBoundingClientRect()));
    return [...(box.labels || [])].find((label) => label === hit) || null;
  };
  const fileInput = (element) => {
    element = element.control || element;
    return element.matches("input[type=file]") ? element : element.querySelector("input[type=file]") || element;
  };
  const restore = () => {
    while (changes.length) changes.pop()();
  };

  const questions = {
    passwords() {
      let more = false;
      for (const field of found("input[type=password]")) {
        if (once.has(field)) continue;
        if (once.size >= MOST_FIELDS) for (const old of once) if (!old.isConnected) once.delete(old);
        if (once.size < MOST_FIELDS) once.add(field);
        else more = true;
      }
      const values = new Set([...once].map((field) => field.value.slice(0, MOST_CHARACTERS)).filter((value) => value));
      return { count: once.size, values: [...values], more };
    },
    // What stands in the password field that has the focus.
    typed() {
      let at = document.activeElement;
      for (let inner; (inner = at?.shadowRoot?.activeElement); ) at = inner;
      return at?.matches("input[type=password]") ? at.value : "";
    },
    // How many elements there are, counted up to `most`.
    size(root, most) {
      let count = 0;
      for (const _ of elements(root)) if (++count >= Number(most)) break;
      return { elements: count, html: !!document.querySelector("body, frameset") };
    },
    boxes() {
      restore(); // of a look that was given up before it was asked to
      let count = 0;
      for (const label of found("label")) {
        if (count >= MOST_LABELS) break;
        const box = label.control;
        if (!box?.matches(BOXES) || shown(box) || !shown(label)) continue;
        if (NAMES.some((name) => label.hasAttribute(name))) continue;
        label.setAttribute("role", box.type === "file" ? "button" : box.type);
        if (box.type !== "file") label.setAttribute("aria-checked", box.indeterminate ? "mixed" : box.checked);
        if (box.matches(":disabled")) label.setAttribute("aria-disabled", "true");
        changes.push(() => NAMES.forEach((name) => label.removeAttribute(name)));
        count += 1;
      }
    },
    hide(holder) {
      const hidden = holder.getAttribute("aria-hidden"), visibility = holder.style.visibility;
      holder.setAttribute("aria-hidden", "true");
      holder.style.visibility = "hidden";
      changes.push(() => {
        if (hidden === null) holder.removeAttribute("aria-hidden");
        else holder.setAttribute("aria-hidden", hidden);
        holder.style.visibility = visibility;
      });
    },
    restore,
    document: () => token,
    // Where to click a label that stands for its box, beside the links in it; nothing for any other element.
    aim(label) {
      if (label.localName !== "label" || !label.control || shown(label.control)) return null;
      const walker = document.createTreeWalker(label, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = node.nodeType === Node.TEXT_NODE, element = text ? node.parentElement : node;
        if (text ? !node.data.trim() : node.firstChild) continue;
        if (element.closest("a, button, input, select, textarea, label") !== label) continue;
        const range = document.createRange();
        range.selectNode(node);
        const at = range.getClientRects()[0];
        if (at?.width && at.height) return within(label, middle(at));
      }
      return null;
    },
    "label-over": labelOver,
    "place-in-label"(box) {
      const label = labelOver(box);
      return label && within(label, middle(box.getBoundingClientRect()));
    },
    "file-input": fileInput,
    takes(element) {
      const input = fileInput(element);
      if (!input.matches("input[type=file]"))
        return input.matches("input, textarea, select, option, body, html") || input.isContentEditable ? "other" : "button";
      return input.disabled ? "disabled" : input.webkitdirectory ? "directory" : input.multiple ? "many" : "one";
    },
    field(element) {
      const field = element.matches("input, textarea, select") ? element : element.control || element;
      return {
        tag: field.localName,
        type: field.localName === "input" ? field.type : "",
        multiple: !!field.multiple,
        disabled: field.matches(":disabled") || field.getAttribute("aria-disabled") === "true",
        editable: !!field.isContentEditable,
      };
    },
    // Value, label, and whether it is disabled, of each option of a list.
    options(element) {
      const list = element.localName === "select" ? element : element.control;
      return [...list.options].map((o) => [o.value, o.label.trim().replace(/\s+/g, " "), o.disabled || o.matches(":disabled")]);
    },
    scroll(element, x, y) {
      if (element === document) scrollBy({ left: Number(x), top: Number(y), behavior: "instant" });
      else element.scrollBy(Number(x), Number(y));
    },
    words: (_, most) => (document.body ? "" : (document.documentElement?.textContent ?? "").slice(0, Number(most))),
  };

  const queryAll = (root, question) => {
    const [name, ...given] = question.split(" ");
    const answer = questions[name](root, ...given);
    if (answer instanceof Element) return [answer];
    if (name === "label-over") return [];
    const told = document.createElementNS("http://www.w3.org/1999/xhtml", "data");
    told.textContent = JSON.stringify(answer ?? null);
    return [told];
  };
  return { query: (root, question) => queryAll(root, question)[0] ?? null, queryAll };
})()
