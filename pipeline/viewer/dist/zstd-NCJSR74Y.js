var o={fromConfig(){throw new Error("numcodecs/zstd is not part of this page")}};export{o as default};
