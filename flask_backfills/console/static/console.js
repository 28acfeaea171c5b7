// The pages work without this: each part makes them more convenient. One file, one subject.
for (const part of ["times", "grid", "live", "list", "form"]) {
  import(`./${part}.js`).catch((error) => {
    // One that did not come, such as when the page is left while it loads.
    if (!(error instanceof TypeError)) {
      throw error;
    }
  });
}
