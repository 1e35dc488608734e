// Shows /openapi.json to people. Everything is put in as text, so nothing of the document can become markup.
"use strict";

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const resolve = (schema, all) => {
  const name = schema.$ref && schema.$ref.split("/").pop();
  return name ? { ...all[name], name } : schema;
};

const limits = (schema) => {
  const said = [];
  if (schema.enum) said.push(schema.enum.map((value) => JSON.stringify(value)).join(", "));
  if ("const" in schema) said.push(JSON.stringify(schema.const));
  if (schema.pattern) said.push("matches " + schema.pattern);
  const low = schema.minimum ?? schema.minLength ?? schema.minItems;
  const high = schema.maximum ?? schema.maxLength ?? schema.maxItems;
  if (low !== undefined || high !== undefined) said.push(`${low ?? ""} to ${high ?? ""}`);
  if (schema.default !== undefined && schema.default !== null) said.push("default " + JSON.stringify(schema.default));
  return said.join("; ");
};

const kind = (schema, all) => {
  const found = resolve(schema, all);
  if (found.anyOf) return found.anyOf.map((one) => kind(one, all)).join(" or ");
  if (found.type === "array") return "list of " + kind(found.items || {}, all);
  return found.name || [found.type, found.format].filter(Boolean).join(", ") || "anything";
};

const fields = (schema, all) => {
  const found = resolve(schema, all);
  const rows = Object.entries(found.properties || {}).map(([name, field]) => {
    const required = (found.required || []).includes(name);
    const inner = resolve(field, all);
    return make("tr", {},
      make("td", {}, make("code", {}, name), required ? make("span", { class: "required", title: "required" }, " *") : ""),
      make("td", {}, kind(field, all)),
      make("td", {}, [field.description || inner.description, limits(inner)].filter(Boolean).join(" — ")));
  });
  return rows.length ? make("table", {}, ...rows) : make("p", {}, kind(schema, all));
};

const parameters = (listed) => make("table", {}, ...listed.map((one) => make("tr", {},
  make("td", {}, make("code", {}, one.name), one.required ? make("span", { class: "required" }, " *") : ""),
  make("td", {}, one.in),
  make("td", {}, [one.description, limits(one.schema)].filter(Boolean).join(" — ")))));

const answers = (responses, all) => Object.entries(responses).map(([status, answer]) => {
  const [media, content] = Object.entries(answer.content || {})[0] || ["", null];
  const isProblem = media === "application/problem+json";
  const shown = make("details", {}, make("summary", {}, `${status} ${answer.description}`));
  if (content && !isProblem) shown.append(make("p", {}, media), fields(content.schema, all));
  return isProblem || !content ? make("div", {}, `${status} ${answer.description}`) : shown;
});

const section = (method, path, call, all) => {
  const made = make("section", { id: call.operationId },
    make("h3", {}, make("span", { class: "method " + method }, method.toUpperCase()), make("code", {}, path)),
    make("p", {}, call.summary));
  for (const paragraph of (call.description || "").split("\n\n").filter(Boolean)) made.append(make("p", {}, paragraph));
  if (call.parameters.length) made.append(make("h4", {}, "Parameters"), parameters(call.parameters));
  const body = call.requestBody && call.requestBody.content["application/json"];
  if (body) made.append(make("h4", {}, "Body"), fields(body.schema, all));
  made.append(make("h4", {}, "Answers"), ...answers(call.responses, all));
  return made;
};

const show = (api) => {
  const all = api.components.schemas;
  const main = document.getElementById("calls");
  const contents = document.getElementById("contents");
  main.replaceChildren(make("h1", {}, `${api.info.title} ${api.info.version}`), make("p", {}, api.info.description));
  for (const { name: tag } of api.tags) {
    contents.append(make("h2", {}, tag));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, call] of Object.entries(methods).filter(([, one]) => one.tags.includes(tag))) {
        contents.append(make("a", { href: "#" + call.operationId }, `${method.toUpperCase()} ${path}`));
        main.append(section(method, path, call, all));
      }
    }
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
};

fetch("../openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => { document.getElementById("loading").textContent = "openapi.json can't be read: " + error; });
