"""Closed shadow trees: a page's own scripts find them closed, and whoever looks from another world finds them open.

Playwright looks from a world of its own, which has prototypes of its own. A tree that the markup itself declares closed
stays so: no script has a say in it.
"""

OPEN_SHADOWS = """(() => {
  const prototype = Element.prototype;
  const attach = prototype.attachShadow, apply = Reflect.apply, closed = new WeakSet();
  const has = WeakSet.prototype.has.bind(closed), add = WeakSet.prototype.add.bind(closed);
  const rootOf = Object.getOwnPropertyDescriptor(prototype, 'shadowRoot').get;
  const modeOf = Object.getOwnPropertyDescriptor(ShadowRoot.prototype, 'mode').get;
  const replace = (owner, name, value) => Object.defineProperty(owner, name, value);
  replace(prototype, 'shadowRoot', {configurable: true, enumerable: true, get() {
    const root = apply(rootOf, this, []);
    return root && has(root) ? null : root;
  }});
  replace(ShadowRoot.prototype, 'mode', {configurable: true, enumerable: true, get() {
    return has(this) ? 'closed' : apply(modeOf, this, []);
  }});
  replace(prototype, 'attachShadow', {configurable: true, enumerable: true, writable: true, value: {attachShadow(init) {
    if (init?.mode !== 'closed') return apply(attach, this, [init]);
    const root = apply(attach, this, [{...init, mode: 'open'}]);
    add(root);
    return root;
  }}.attachShadow});
})()"""
"""Runs in each document before the page's own scripts."""
