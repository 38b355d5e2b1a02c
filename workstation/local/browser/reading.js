// What a page shows, as plain HTML without its looks: its main part, or all of it. Runs in a world of its own, apart from
// the page's scripts; nothing here recurses, since pages may be nested deeper than any stack.
(most, deepest, whole, inFrame) => {
  // The frame around reads what is of its origin, and nobody reads a frame that shows next to nothing.
  if (inFrame && (window.frameElement || innerWidth * innerHeight < 10000)) return { html: "", cut: false, shown: 0 };
  const LEFT_OUT = new Set(
    "AREA AUDIO BASE CANVAS DATALIST EMBED HEAD INPUT LINK META NOSCRIPT OBJECT OPTION PARAM PROGRESS SCRIPT SELECT STYLE SVG TEMPLATE TEXTAREA TITLE TRACK VIDEO".split(" "),
  );
  const KEPT = new Set(
    "B BLOCKQUOTE CODE DD DEL DL DT EM FIGCAPTION H1 H2 H3 H4 H5 H6 I LI OL P PRE S STRONG SUB SUP UL".split(" "),
  );
  const TABLE = new Set("CAPTION TABLE TBODY TD TFOOT TH THEAD TR".split(" "));
  const ROLES = {
    table: "table", grid: "table", treegrid: "table", row: "tr", cell: "td", gridcell: "td", columnheader: "th",
    rowheader: "th", list: "ul", listitem: "li", paragraph: "p", blockquote: "blockquote",
  };
  const AROUND = "nav,[role=navigation],[role=menu],[role=menubar],[role=search],[role=toolbar],[role=tablist]";
  const FRAME = "[role=banner],[role=contentinfo],[role=complementary]";
  const BLOCKS = "address,article,blockquote,div,dl,figure,h1,h2,h3,h4,h5,h6,li,ol,p,pre,section,table,ul";
  const LISTS = new Set(["DIV", "OL", "SECTION", "UL"]);
  const LARGE = "h1,h2,h3,h4,h5,h6,table,ul,ol,dl,pre,blockquote";
  const ASKING = /cookie|consent|gdpr/i;
  const BESIDE = /(^|[-_ ])(ad|ads|advert\w*|breadcrumbs?|comments?|disqus|footer|menu|nav|navbar|navigation|newsletter|pagination|pager|promo|related|recommend\w*|share|sharing|sidebar|skip|social|sponsor\w*|subscribe|widget)($|[-_ ])/i;

  const written = [];
  let length = 0, told = 0; // how much is written, tags with it, and how much of that tells something
  const write = (text) => {
    length += text.length;
    written.push(text);
  };
  const tell = (text) => {
    if (text.trim()) told += 1;
    write(text);
  };
  const escaped = (text) => text.replace(/[&<>"]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[char]);
  const size = (element) => (element.textContent || "").length;
  const names = (element) => `${element.id} ${element.getAttribute("class") || ""}`;
  const linked = (element) => {
    let count = 0;
    for (const link of element.querySelectorAll("a")) count += size(link);
    return count / (size(element) || 1);
  };
  // Below what is visible itself: what is in closed details counts, and what has no box of its own but children may.
  const visible = (element, folded) =>
    folded
      ? getComputedStyle(element).display !== "none"
      : element.checkVisibility() || getComputedStyle(element).display === "contents";

  // Whether an element stands around the content: menus, banners, footers, what is beside an article.
  const around = (element, inMain) => {
    if (element.matches(AROUND)) return true;
    if (ASKING.test(names(element)) && size(element) < 5000) return true;
    const tag = element.tagName;
    if (tag === "ASIDE") return !inMain || linked(element) > 0.4;
    if (inMain) return BESIDE.test(names(element)) && size(element) < 1500 && linked(element) > 0.5;
    if (element.matches(FRAME)) return true;
    if (tag === "FOOTER" || tag === "HEADER") return !element.parentElement?.closest("article,main,section,[role=main]");
    if (BESIDE.test(names(element)) && (linked(element) > 0.3 || size(element) < 300)) return true;
    return LISTS.has(tag) && stack.length < 40 && element.querySelectorAll("a").length > 3 && linked(element) > 0.6;
  };

  const largest = (selector) => {
    let found = null;
    for (const each of [...document.querySelectorAll(selector)].slice(0, 200))
      if (each.checkVisibility() && (!found || size(each) > size(found))) found = each;
    return found;
  };
  // The text nodes below an element; without layout, which takes minutes for some pages.
  function* texts(element) {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (walker.nextNode())
      if (!LEFT_OUT.has(walker.currentNode.parentElement?.tagName.toUpperCase())) yield walker.currentNode;
  }
  // How many characters an element shows; nobody needs to know how many more than some they are.
  const shown = (element) => {
    let count = 0, looked = 0;
    for (const text of element ? texts(element) : []) {
      if (text.parentElement.checkVisibility()) count += text.data.trim().length;
      if (count > 20000 || ++looked > 20000) break;
    }
    return count;
  };
  const textless = (link) => !(link.textContent || "").trim() && ![...link.querySelectorAll("img")].some((image) => image.alt);
  const main = () => {
    const all = shown(document.body);
    const named = largest("main,[role=main]");
    if (named && shown(named) >= Math.min(200, all / 4)) return named;
    const article = largest("article,[role=article]");
    return article && shown(article) >= all / 2 ? article : null;
  };

  const known = new Map();
  const isData = (table) => {
    if (!known.has(table)) known.set(table, looksLikeData(table));
    return known.get(table);
  };
  const looksLikeData = (table) => {
    const role = table.getAttribute("role") || "";
    if (ROLES[role] === "table") return true;
    if (/^(presentation|none)$/.test(role) || table.querySelector("table")) return false;
    if (table.querySelector("th,caption,thead")) return true;
    const rows = table.rows;
    return rows && rows.length > 1 && [...rows].slice(0, 50).every((row) => row.cells.length > 1);
  };
  // The name under which an element is written; '' for what only groups, null for nothing at all.
  const named = (element) => {
    const tag = element.tagName.toUpperCase();
    const role = element.getAttribute("role") || "";
    if (role === "heading") return `h${Math.min(Math.max(parseInt(element.getAttribute("aria-level")) || 2, 1), 6)}`;
    if (Object.hasOwn(ROLES, role)) return ROLES[role];
    if (TABLE.has(tag)) {
      const table = element.closest("table");
      return table && isData(table) ? tag.toLowerCase() : "";
    }
    return KEPT.has(tag) ? tag.toLowerCase() : "";
  };

  const childrenOf = (element) => {
    if (element.tagName === "IFRAME" || element.tagName === "FRAME") {
      let inner = null;
      try {
        inner = element.contentDocument;
      } catch {}
      return inner?.body ? [inner.body] : [];
    }
    if (element.shadowRoot) return element.shadowRoot.childNodes;
    if (element.tagName === "SLOT") {
      const assigned = element.assignedNodes({ flatten: true });
      return assigned.length ? assigned : element.childNodes;
    }
    return element.childNodes;
  };

  const stack = [];
  const root = whole ? document.body : main() || document.body;
  if (!root) return { html: "", cut: false, shown: 0 };
  const inMain = root !== document.body;
  let pending = ""; // the address of a link around blocks, which their first heading shall bear
  // Long addresses are mostly there to follow people.
  const address = (link) => escaped(link.href.length > 250 ? link.href.split(/[?#]/)[0].slice(0, 1000) : link.href);
  const enter = (element, folded, inRow, inLink) => {
    const tag = element.tagName.toUpperCase();
    if (LEFT_OUT.has(tag) || !visible(element, folded)) return;
    if (element.getAttribute("aria-hidden") === "true" && size(element) < 200) return;
    if (element !== root && !whole && around(element, inMain)) return;
    if (stack.length >= deepest) {
      write("<br>");
      for (const text of texts(element)) {
        tell(escaped(`${text.data.slice(0, most - length)} `));
        if (length >= most) break;
      }
      return;
    }
    if (tag === "BR" || tag === "HR") return write(`<${tag.toLowerCase()}>`);
    if (tag === "IMG") {
      const alt = (element.alt || "").trim();
      if (alt.length > 2) tell(escaped(` [image: ${alt.slice(0, 300)}] `));
      return;
    }
    if (tag === "MATH" && element.getAttribute("alttext")) return tell(escaped(element.getAttribute("alttext")));
    const style = getComputedStyle(element);
    const display = style.display;
    let open = "", close = "";
    const name = named(element);
    if (name) [open, close] = [`<${name}${spans(element, name)}>`, `</${name}>`];
    else if (!/^(inline|contents|ruby)/.test(display) && !inRow && !inLink) [open, close] = ["<div>", "</div>"];
    else if (display !== "inline" && display !== "contents") [open, close] = [" ", " "];
    let after = null;
    if (tag === "A" && /^(https?|mailto|tel):/.test(element.href)) {
      const [page] = location.href.split("#");
      if (textless(element)) {
        const label = element.getAttribute("aria-label") || element.title;
        return label ? tell(` <a href="${address(element)}">${escaped(label.slice(0, 200))}</a> `) : undefined;
      }
      if (!element.href.startsWith(`${page}#`)) {
        if (element.querySelector(size(element) < 150 ? LARGE : BLOCKS)) {
          const outer = pending, some = told;
          pending = address(element);
          after = () => {
            if (pending && told > some) write(` <a href="${pending}">link</a> `);
            pending = outer;
          };
        } else {
          inLink = true;
          [open, close] = [`${open}<a href="${address(element)}">`, `</a>${close}`];
        }
      }
    } else if (/^h[1-6]$/.test(name) && pending) {
      [open, close] = [`${open}<a href="${pending}">`, `</a>${close}`];
      pending = "";
    }
    const before = written.length;
    write(open);
    const row = /flex/.test(display) && !/column/.test(style.flexDirection);
    const shut = tag === "DETAILS" && !element.open;
    const hidden = style.visibility !== "visible";
    const cell = name === "td" || name === "th"; // an empty one keeps its place
    stack.push({
      nodes: childrenOf(element), at: 0, close, after, before, told: cell ? -1 : told, folded: folded || shut, row, inLink, hidden,
    });
  };
  const spans = (element, name) => {
    if (name === "ol" && element.start > 1) return ` start="${element.start}"`;
    if (name !== "td" && name !== "th") return "";
    const [columns, rows] = [element.colSpan || 1, element.rowSpan || 1];
    return (columns > 1 ? ` colspan="${Math.min(columns, 50)}"` : "") + (rows > 1 ? ` rowspan="${Math.min(rows, 50)}"` : "");
  };

  enter(root, false, false, false);
  while (stack.length && length < most) {
    const top = stack[stack.length - 1];
    if (top.at >= top.nodes.length) {
      stack.pop();
      if (told === top.told) written.length = top.before;
      else write(top.close);
      top.after?.();
      continue;
    }
    const node = top.nodes[top.at++];
    if (node.nodeType === Node.TEXT_NODE) {
      if (!top.hidden) tell(escaped(node.data.slice(0, most - length)));
    } else if (node.nodeType === Node.ELEMENT_NODE) {
      enter(node, top.folded, top.row && node.childElementCount === 0 && size(node) < 80, top.inLink);
    }
  }
  const cut = stack.length > 0;
  while (stack.length) write(stack.pop().close);
  return { html: written.join(""), cut, shown: shown(document.body) };
}
