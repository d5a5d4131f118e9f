import { defineConfigWithVueTs, vueTsConfigs } from '@vue/eslint-config-typescript'
import pluginVue from 'eslint-plugin-vue'
import accessibility from 'eslint-plugin-vuejs-accessibility'
import { globalIgnores } from 'eslint/config'

export default defineConfigWithVueTs(
  globalIgnores(['dist', 'test-results', 'playwright-report']),
  pluginVue.configs['flat/recommended'],
  vueTsConfigs.strictTypeChecked,
  accessibility.configs['flat/recommended'],
  {
    rules: {
      // The Content-Security-Policy forbids inline styles, and nothing here needs raw HTML.
      'vue/no-v-html': 'error',
      'vue/no-static-inline-styles': ['error', { allowBinding: false }],
      'vue/block-lang': ['error', { script: { lang: 'ts' } }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      'vue/require-default-prop': 'off', // TypeScript's optional says it
      'vue/no-unused-refs': 'error',
      'no-console': 'error',
      'vuejs-accessibility/label-has-for': ['error', { required: { some: ['nesting', 'id'] } }],
      // Prettier's.
      'vue/max-attributes-per-line': 'off',
      'vue/singleline-html-element-content-newline': 'off',
      'vue/multiline-html-element-content-newline': 'off',
      'vue/html-self-closing': 'off',
      'vue/html-indent': 'off',
      'vue/html-closing-bracket-newline': 'off',
      'vue/first-attribute-linebreak': 'off',
    },
  },
  {
    files: ['src/**/*.test.ts'],
    rules: { 'vue/one-component-per-file': 'off' },
  },
  {
    files: ['src/**'],
    ignores: ['src/bff/client.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        { name: 'fetch', message: 'src/bff/client.ts is the only place that fetches.' },
        { name: 'EventSource', message: 'src/bff/client.ts is the only place that opens one.' },
      ],
    },
  },
  {
    files: ['src/bff/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [{ group: ['../*'], message: 'src/bff must lift out of this app.' }] },
      ],
    },
  },
)
