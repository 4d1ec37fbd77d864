var o={fromConfig(){throw new Error("numcodecs/lz4 is not part of this page")}};export{o as default};
