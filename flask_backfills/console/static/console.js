// The pages work without this: each part makes them more convenient. One file, one subject.
for (const part of ["times", "grid", "live", "list", "form"]) {
  import(`./${part}.js`);
}
