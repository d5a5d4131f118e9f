import { createApp } from 'vue'
import App from './App.vue'
import { createClient } from './bff/client'
import { createSession } from './bff/session'
import { createI18n } from './i18n'
import { createRouter } from './router'
import { createGate } from './router/guards'
import './styles/tokens.css'
import './styles/base.css'

const session = createSession(createClient({ baseUrl: import.meta.env.VITE_BFF_URL }))
const router = createRouter()
const gate = createGate(router, session)

createApp(App).use(session).use(createI18n()).use(gate).use(router).mount('#app')
